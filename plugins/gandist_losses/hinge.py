"""The hinge loss."""

from typing import ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn.functional import relu

from gandist import Loss, Turn


class Hinge(Loss):
    """The discriminator cares only for logits within the margin (Lim & Ye 2017, section 3; Miyato et al. 2018, eq. 17).

    The generator raises the logits of its samples without bound, so the discriminator's slope must be kept small:
    spectral norm or a gradient penalty.
    """

    name: ClassVar[str] = "hinge"

    d_steps: int = Field(default=1, ge=1, le=1000)
    """Discriminator turns, each with a fresh batch, before each turn of the generator; 5 in Miyato et al. 2018."""

    @property
    def turns(self) -> tuple[str, ...]:  # type: ignore[override]
        """`d_steps` turns of the discriminator, then one of the generator."""
        return ("discriminator",) * self.d_steps + ("generator",)

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z)))."""
        return {"total": relu(1.0 - turn.on_real.logits).mean() + relu(1.0 + turn.on_fake.logits).mean()}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """-E D(G(z))."""
        return {"total": -turn.on_fake.logits.mean()}
