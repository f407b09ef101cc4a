"""Density and coverage (Naeem et al. 2020, equations 3 and 4)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from gandist import Compared, Metric


class _RealBalls(Metric):
    """What both have in common: balls around real features only, which outliers among the samples cannot blow up."""

    gathers: ClassVar[tuple] = ("features",)

    neighbours: int = Field(default=5, ge=1)
    """Nearest real samples that a real one's ball reaches to, k in the paper."""


class Density(_RealBalls):
    """Balls around real samples that hold a sample, on average, over k: how dense real ones are where samples fall."""

    name: ClassVar[str] = "density"
    scores: ClassVar[tuple[str, ...]] = ("density",)
    floors: ClassVar[tuple[str, ...]] = ("density",)

    def compare(self, compared: Compared) -> dict[str, float]:
        """From 0, and about 1 for real samples; above 1 where samples crowd around typical ones."""
        radii = compared.radii("real", self.neighbours)

        def holding(distances: Tensor) -> Tensor:
            # The published code leaves the edge out here, and so in coverage.
            return (distances < radii).sum(1).double()

        return {"density": float(compared.across("fake", holding).mean() / self.neighbours)}


class Coverage(_RealBalls):
    """Share of the reference with a sample in its ball, which reaches to the fifth nearest real neighbour."""

    name: ClassVar[str] = "coverage"
    scores: ClassVar[tuple[str, ...]] = ("coverage",)
    floors: ClassVar[tuple[str, ...]] = ("coverage",)

    def compare(self, compared: Compared) -> dict[str, float]:
        """From 0 to 1."""
        radii = compared.radii("real", self.neighbours)
        covered = compared.across("real", lambda distances: distances.amin(1)) < radii
        return {"coverage": float(covered.double().mean())}
