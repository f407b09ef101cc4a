"""Wasserstein GAN with clipped weights."""

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from gandist import Loss, Turn


class Wasserstein(Loss):
    """The critic estimates a Wasserstein distance, kept Lipschitz by clipping (Arjovsky et al. 2017, Algorithm 1).

    The paper trains with RMSprop at 5e-5; momentum makes it unstable (section 4). `wgan-gp` is the better behaved heir.
    """

    name: ClassVar[str] = "wasserstein"
    aliases: ClassVar[tuple[str, ...]] = ("wgan",)
    critic: ClassVar[bool] = True

    d_steps: int = Field(default=5, ge=1, le=1000)
    """Critic turns before each turn of the generator."""
    clip: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    """Largest absolute value of a weight of the critic; 0.01 in the paper."""

    @property
    def turns(self) -> tuple[str, ...]:  # type: ignore[override]
        """`d_steps` turns of the discriminator, then one of the generator."""
        return ("discriminator",) * self.d_steps + ("generator",)

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """E D(G(z)) - E D(x)."""
        distance = turn.on_real.logits.mean() - turn.on_fake.logits.mean()
        return {"total": -distance, "distance": distance}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """-E D(G(z))."""
        return {"total": -turn.on_fake.logits.mean()}

    def constrain(self, role: str, network: nn.Module) -> None:
        """Clips the critic's weights to [-clip, clip] after each of its turns.

        A weight behind a parametrization keeps its size. Spectral norm bounds it already, and divides its gradient by
        its norm: of a clipped one by so little that training diverges within a few turns.
        """
        if role == "discriminator":
            for name, parameter in network.named_parameters():
                if ".parametrizations." not in f".{name}":
                    parameter.clamp_(-self.clip, self.clip)
