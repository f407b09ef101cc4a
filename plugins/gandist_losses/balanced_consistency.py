"""Verdicts that do not change when an image is flipped or shifted."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gandist import Facts, Noise, Regularizer, Turn


def flipped_and_shifted(images: Tensor, noise: Noise, shift: float) -> Tensor:
    """Images (B, C, H, W), each mirrored with probability one half and moved by whole pixels, at most `shift` of its
    size each way; what comes in at a border is the mirror image of what lies there."""
    size = images.shape[-1]
    most = int(shift * size)
    choice = noise.uniform(len(images), 3)
    mirrored = torch.where((choice[:, 0] < 0.5).view(-1, 1, 1, 1), images.flip(3), images)
    moves = ((2 * most + 1) * choice[:, 1:]).long().clamp_max(2 * most) - most

    def along(move: Tensor, length: int) -> Tensor:
        places = (torch.arange(length, device=images.device) - move[:, None]).abs()
        return torch.where(places >= length, 2 * (length - 1) - places, places)

    rows, columns = along(moves[:, 0], images.shape[2]), along(moves[:, 1], size)
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    return mirrored.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class BalancedConsistency(Regularizer):
    """Penalises a discriminator that judges a changed image otherwise (Zhao et al. 2021, Algorithm 1).

    The changes are the paper's for CIFAR-10: mirroring, and a shift by a few pixels.
    """

    name: ClassVar[str] = "balanced-consistency"

    real: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    """Weight λ_real of the real images; 10 in the paper."""
    fake: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    """Weight λ_fake of the generated images; 10 in the paper."""
    shift: float = Field(default=0.125, ge=0.0, le=0.5)
    """Largest shift, as a share of the image's size."""

    def refuse(self, facts: Facts) -> str | None:
        """Points cannot be mirrored."""
        return None if facts.images else "mirrors and shifts images, and these are points"

    def discriminator(self, turn: Turn) -> Tensor:
        """λ_real · E (D(T(x)) - D(x))² + λ_fake · E (D(T(G(z))) - D(G(z)))²."""
        terms = []
        for images, verdict in ((turn.real, turn.on_real), (turn.fake, turn.on_fake)):
            changed = flipped_and_shifted(images.detach(), turn.noise(self.key), self.shift)
            terms.append((turn.judge(changed, turn.labels).logits - verdict.logits).square().mean())
        return self.real * terms[0] + self.fake * terms[1]
