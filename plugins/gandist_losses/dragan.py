"""A gradient penalty around the data."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gandist import Regularizer, Turn, slopes


class Dragan(Regularizer):
    """Draws the slope of the discriminator near real samples to 1 (Kodali et al. 2017, equation 1).

    The points are x + δ with δ ~ N(0, c·I), independent in every element. The authors' code draws δ uniformly and
    scales it by half the batch's deviation instead, which would make the penalty depend on the batch.
    """

    name: ClassVar[str] = "dragan"
    per_sample_gradients: ClassVar[bool] = True

    weight: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    """Lambda, 10 in the paper."""
    deviation: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    """Standard deviation √c of δ; images lie in [-1, 1]."""

    def discriminator(self, turn: Turn) -> Tensor:
        """E (|∇D(x + δ)| - 1)²."""
        real = turn.real.detach()
        moved = real + self.deviation * turn.noise(self.key).normal(len(turn), *real.shape[1:])
        near = moved.requires_grad_()
        # In full precision: the penalty squares small differences of norms.
        with torch.autocast(real.device.type, enabled=False):
            return (slopes(turn.judge(near, turn.labels).logits, near).norm(2, dim=1) - 1).square().mean()
