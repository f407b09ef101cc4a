"""Wasserstein GAN with gradient penalty."""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from gandist import Loss, Turn
from gandist_losses.gradient_penalty import gradient_penalty


class WassersteinGP(Loss):
    """The critic estimates a Wasserstein distance and is kept 1-Lipschitz by a penalty (Gulrajani et al. 2017).

    A step is `d_steps` turns of the critic, each with a fresh batch, then one of the generator (Algorithm 1). The
    critic must not mix samples: layer norm or none, no batch norm.
    """

    name: ClassVar[str] = "wgan-gp"
    per_sample_gradients: ClassVar[bool] = True
    critic: ClassVar[bool] = True

    d_steps: int = Field(default=5, ge=1, le=1000)
    """Critic turns before each turn of the generator."""
    gp_weight: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    """Lambda, the weight of the gradient penalty in the critic's loss."""

    @property
    def turns(self) -> tuple[str, ...]:  # type: ignore[override]
        """`d_steps` turns of the discriminator, then one of the generator."""
        return ("discriminator",) * self.d_steps + ("generator",)

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """E D(G(z)) - E D(x) + gp_weight · E (|∇D(x̂)| - 1)²."""
        distance = turn.on_real.logits.mean() - turn.on_fake.logits.mean()
        penalty = gradient_penalty(turn)
        return {"total": self.gp_weight * penalty - distance, "distance": distance, "gradient_penalty": penalty}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """-E D(G(z))."""
        return {"total": -turn.on_fake.logits.mean()}
