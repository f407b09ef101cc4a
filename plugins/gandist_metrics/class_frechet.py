"""Fréchet distance within each class (intra-class FID; Miyato & Koyama 2018, section 4)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from gandist import Compared, Facts, Metric, Source
from gandist_metrics.labels import classes_of
from gandist_metrics.moments import frechet_distance, moment_sums, moments


class ClassFrechet(Metric):
    """Fréchet distance between samples and real ones of each class: its mean over classes, and the worst.

    The class of a sample is the one that the generator was asked for, if it heeds labels; else the one that the
    classifier sees.
    """

    name: ClassVar[str] = "class-frechet"
    scores: ClassVar[tuple[str, ...]] = ("class_frechet", "class_frechet_worst", "classes_missing")
    floors: ClassVar[tuple[str, ...]] = ("class_frechet",)
    gathers: ClassVar[tuple] = ("features", "logits", "labels")

    def unfit(self, source: Source) -> str | None:
        """There must be classes."""
        return None if source.facts.classes > 1 else "needs a data set with at least 2 classes; use frechet"

    def classes(self, facts: Facts) -> Literal["asked", "seen"]:
        """Those asked for, or seen."""
        return "seen"

    def compare(self, compared: Compared) -> dict[str, float]:
        """Classes with fewer than two samples are not among the distances; `classes_missing` is their number."""
        classes = compared.facts.classes
        fake, real = (
            [_moments(rows.features, classes_of(rows, compared.facts, self.name) == label) for label in range(classes)]
            for rows in (compared.fake, compared.real)
        )
        distances = {
            label: frechet_distance(*fake[label], *known)  # type: ignore[misc]
            for label, known in enumerate(real)
            if known is not None and fake[label] is not None
        }
        missing = sum(known is not None and fake[label] is None for label, known in enumerate(real))
        found = list(distances.values()) or [float("nan")]
        return {
            "class_frechet": sum(found) / len(found),
            "class_frechet_worst": max(found),
            "classes_missing": float(missing),
            **{f"class_frechet/{label}": distance for label, distance in distances.items()},
        }


def _moments(features: Tensor | None, chosen: Tensor) -> tuple[Tensor, Tensor] | None:
    assert features is not None
    rows = features[chosen].cpu()
    return moments(moment_sums(rows), len(rows)) if len(rows) > 1 else None
