"""Fréchet distance between Gaussians fitted to features (Heusel et al. 2017, equation 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from gandist import Metric, Real, Scored
from gandist_metrics.moments import frechet_distance, moment_sums, moments


class Frechet(Metric):
    """Fréchet distance between samples and real ones, of Gaussians with their features' means and covariances."""

    name: ClassVar[str] = "frechet"
    scores: ClassVar[tuple[str, ...]] = ("frechet",)
    floors: ClassVar[tuple[str, ...]] = ("frechet",)
    title: ClassVar[str] = "Fréchet distance"
    """What a person reads."""

    def statistics(self, real: Real) -> dict[str, Tensor]:
        """Mean (D,) and covariance (D, D) of the reference half, float64."""
        features = real.rows("reference").features
        assert features is not None
        mean, covariance = moments(moment_sums(features), len(features))
        return {"mean": mean, "covariance": covariance}

    def sums(self, batch: Scored, known: Mapping[str, Tensor]) -> Tensor:
        """Moment sums of the features."""
        assert batch.features is not None
        return moment_sums(batch.features)

    def result(self, sums: Tensor, count: int, known: Mapping[str, Tensor]) -> dict[str, float]:
        """The squared distance."""
        return {self.scores[0]: frechet_distance(*moments(sums, count), known["mean"], known["covariance"])}

    @classmethod
    def told(cls, scores: dict[str, float]) -> list[tuple[str, str]]:
        """The distance, that of real samples beside it."""
        (name,) = cls.scores
        real = scores.pop(f"{name}_real", None)
        beside = f" (real against real {real:.3f})" if real is not None else ""
        return [(cls.title, f"{scores.pop(name):.3f}{beside}")]
