"""Improved precision and recall (Kynkäänniemi et al. 2019, equations 1 to 3)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from gandist import Compared, Metric


class _Balls(Metric):
    """What both have in common: balls around features that reach to the k-th nearest of their own side."""

    gathers: ClassVar[tuple] = ("features",)

    neighbours: int = Field(default=3, ge=1)
    """Nearest samples of its own side that a sample's ball reaches to, k in the paper."""


class Precision(_Balls):
    """Share of the samples that lie in a ball around a real one, which reaches to its third nearest real neighbour."""

    name: ClassVar[str] = "precision"
    scores: ClassVar[tuple[str, ...]] = ("precision",)
    floors: ClassVar[tuple[str, ...]] = ("precision",)

    def compare(self, compared: Compared) -> dict[str, float]:
        """From 0 to 1."""
        radii = compared.radii("real", self.neighbours)

        def inside(distances: Tensor) -> Tensor:
            return (distances <= radii).any(1).double()

        return {"precision": float(compared.across("fake", inside).mean())}


class Recall(_Balls):
    """Share of the reference that lies in a ball around a sample, which reaches to its third nearest sample."""

    name: ClassVar[str] = "recall"
    scores: ClassVar[tuple[str, ...]] = ("recall",)
    floors: ClassVar[tuple[str, ...]] = ("recall",)

    def compare(self, compared: Compared) -> dict[str, float]:
        """From 0 to 1."""
        radii = compared.radii("fake", self.neighbours)

        def inside(distances: Tensor) -> Tensor:
            return (distances <= radii).any(1).double()

        return {"recall": float(compared.across("real", inside).mean())}
