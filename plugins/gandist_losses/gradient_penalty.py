"""The one-centred gradient penalty."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gandist import Regularizer, Turn, slopes


def gradient_penalty(turn: Turn) -> Tensor:
    """E (|∇D(x̂)| - 1)² at points x̂ between a real and a fake sample (Gulrajani et al. 2017, equation 3): a scalar.

    Each sample has its own uniform x̂ on the line between its real and its fake one, and its own norm, over all of C, H
    and W. The points are leaves: the penalty reaches the discriminator's weights alone. Mixed precision is switched
    off, since the penalty squares small differences of norms.
    """
    real, fake = turn.real.detach(), turn.fake.detach()
    share = turn.noise("gradient-penalty").uniform(len(turn), *[1] * (real.dim() - 1))
    between = torch.lerp(real, fake, share).requires_grad_()
    with torch.autocast(real.device.type, enabled=False):
        logits = turn.judge(between, turn.labels).logits
        # norm() has gradient 0 where the slope is 0; the root of a sum of squares has NaN there.
        return (slopes(logits, between).norm(2, dim=1) - 1).square().mean()


class GradientPenalty(Regularizer):
    """Draws the slope of the discriminator between real and fake samples to 1 (Gulrajani et al. 2017, equation 3).

    What `wgan-gp` is made of, for any other loss.
    """

    name: ClassVar[str] = "gradient-penalty"
    per_sample_gradients: ClassVar[bool] = True

    weight: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    """Lambda, 10 in the paper."""

    def discriminator(self, turn: Turn) -> Tensor:
        """E (|∇D(x̂)| - 1)²."""
        return gradient_penalty(turn)
