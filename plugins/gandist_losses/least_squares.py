"""Least squares instead of logarithms."""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from gandist import Loss, Turn


class LeastSquares(Loss):
    """Logits are drawn to targets by half their squared distance (Mao et al. 2017, equation 2).

    The defaults are the paper's 0-1 coding (equation 9). With -1, 1 and 0 the optimum minimises a Pearson χ²
    divergence (section 3.2).
    """

    name: ClassVar[str] = "least-squares"
    aliases: ClassVar[tuple[str, ...]] = ("lsgan",)

    fake: float = Field(default=0.0, allow_inf_nan=False)
    """What the discriminator says of generated samples: a."""
    real: float = Field(default=1.0, allow_inf_nan=False)
    """What it says of real samples: b."""
    wanted: float = Field(default=1.0, allow_inf_nan=False)
    """What the generator wants it to say of generated samples: c."""

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """E (D(x) - b)² / 2 + E (D(G(z)) - a)² / 2."""
        on_real, on_fake = turn.on_real.logits - self.real, turn.on_fake.logits - self.fake
        return {"total": 0.5 * on_real.square().mean() + 0.5 * on_fake.square().mean()}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """E (D(G(z)) - c)² / 2."""
        return {"total": 0.5 * (turn.on_fake.logits - self.wanted).square().mean()}
