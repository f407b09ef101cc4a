"""Modes of a Gaussian mixture that samples reach, by PacGAN's protocol (Lin et al. 2018, section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from gandist import Extractor, Metric, Real, Scored, Source

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


class ModesHit(Metric):
    """Modes of the mixture in `gaussians` that samples reach, and the share of good samples (Lin et al. 2018)."""

    name: ClassVar[str] = "modes"
    scores: ClassVar[tuple[str, ...]] = ("modes_hit", "modes", "good", "reverse_kl")

    def space(self, features: Extractor) -> None:
        """The plane itself."""

    def unfit(self, source: Source) -> str | None:
        """The mixture must be known."""
        known = hasattr(source, "centers") and hasattr(source, "sigma")
        return None if known else "needs a data set with known modes (gaussians); use frechet or classes"

    def statistics(self, real: Real) -> dict[str, Tensor]:
        """The mixture."""
        mixture: Any = real.source
        return {"centers": torch.as_tensor(mixture.centers), "sigma": torch.tensor(mixture.sigma, dtype=torch.float64)}

    def sums(self, batch: Scored, known: Mapping[str, Tensor]) -> Tensor:
        """Points and good points per mode."""
        assert batch.samples is not None
        return Modes(known["centers"], float(known["sigma"])).sums(batch.samples)

    def result(self, sums: Tensor, count: int, known: Mapping[str, Tensor]) -> dict[str, float]:
        """`modes_hit` of `modes`, `good` (share from 0 to 1), `reverse_kl` (nats)."""
        return Modes(known["centers"], float(known["sigma"])).result(sums, count)

    @classmethod
    def told(cls, scores: dict[str, float]) -> list[tuple[str, str]]:
        """Modes, and good points."""
        if "modes_hit" not in scores:
            return []
        return [
            ("modes hit", f"{scores.pop('modes_hit'):.0f} of {scores.pop('modes'):.0f}"),
            ("good points", f"{scores.pop('good'):.1%}"),
        ]
