"""A loss: one method per player, each given the turn and returning scalars."""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from gandist import Loss, Turn


class LeastSquares(Loss):
    """The discriminator regresses 1 for real and 0 for fake samples (Mao et al. 2017, equation 9)."""

    name: ClassVar[str] = "example-least-squares"

    target: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """What the generator wants its samples to be given, c in the paper."""

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """E (D(x) - 1)² / 2 + E D(G(z))² / 2; the two halves are logged too."""
        real = 0.5 * (turn.on_real.logits - 1).square().mean()
        fake = 0.5 * turn.on_fake.logits.square().mean()
        return {"total": real + fake, "real": real, "fake": fake}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """E (D(G(z)) - target)² / 2."""
        return {"total": 0.5 * (turn.on_fake.logits - self.target).square().mean()}
