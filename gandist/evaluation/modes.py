"""Modes of a Gaussian mixture that samples reach, by PacGAN's protocol (Lin et al. 2018, section 4.1)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

GOOD = 3.0
"""A point is good within this many standard deviations of a mode."""


class Modes:
    """Counts points per mode of a mixture of equal, round Gaussians.

    centers: (M, D). sigma: the standard deviation of each.
    """

    def __init__(self, centers: Any, sigma: float):
        self._centers = torch.as_tensor(centers, dtype=torch.float64)
        self._sigma = float(sigma)
        self.width = 2 * len(self._centers)

    def sums(self, points: Tensor) -> Tensor:
        """Of points (B, D): how many are nearest to each mode, then how many of these are good; float64 (2M,)."""
        centers = self._centers.to(points.device)
        distance = (points.double()[:, None] - centers).square().sum(2).sqrt()
        nearest = distance.argmin(1)
        good = distance.amin(1) <= GOOD * self._sigma
        counts = [torch.bincount(chosen, minlength=len(centers)) for chosen in (nearest, nearest[good])]
        return torch.cat(counts).double()

    def result(self, sums: Tensor, count: int) -> dict[str, float]:
        """Modes with a good point, the share of good points, and KL(samples' modes ‖ uniform) in nats."""
        nearest, good = sums.chunk(2)
        share = nearest / count
        divergence = torch.xlogy(share, share).sum() + math.log(len(share))
        return {
            "modes_hit": float((good > 0).sum()),
            "modes": float(len(good)),
            "good": float(good.sum() / count),
            "reverse_kl": max(0.0, float(divergence)),
        }
