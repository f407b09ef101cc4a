"""Which classes a classifier sees in the samples, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from gandist import Extractor, Metric, Real, Scored
from gandist_metrics.classifier import ClassifierFeatures

CONFIDENT = 0.9
"""A sample is confident if the classifier gives its class at least this probability."""


def confident(logits: Tensor) -> Tensor:
    """Which rows of (B, classes) logits are confident, bool (B,)."""
    return logits.softmax(1).amax(1) >= CONFIDENT


class Classes(Metric):
    """Shares of the samples in each class, by the classifier of the data set, and of those that it is sure of."""

    name: ClassVar[str] = "classes"
    scores: ClassVar[tuple[str, ...]] = ("smallest_class", "largest_class", "confident", "confident_real")

    def space(self, features: Extractor) -> Extractor:
        """The classifier, whatever the others compare in."""
        return features if isinstance(features, ClassifierFeatures) else ClassifierFeatures()

    def statistics(self, real: Real) -> dict[str, Tensor]:
        """The confident share of real samples that the classifier has not been trained on."""
        logits = real.rows("held out").logits
        assert logits is not None
        return {"confident_real": confident(logits).double().mean()}

    def sums(self, batch: Scored, known: Mapping[str, Tensor]) -> Tensor:
        """Samples per class, and the confident ones."""
        assert batch.logits is not None
        counts = torch.bincount(batch.logits.argmax(1), minlength=batch.logits.shape[1])
        return torch.cat([counts, confident(batch.logits).sum()[None]]).double()

    def result(self, sums: Tensor, count: int, known: Mapping[str, Tensor]) -> dict[str, float]:
        """Shares from 0 to 1."""
        *shares, sure = (sums / count).tolist()
        return {
            "smallest_class": min(shares),
            "largest_class": max(shares),
            "confident": sure,
            "confident_real": float(known["confident_real"]),
            **{f"class_share/{index}": share for index, share in enumerate(shares)},
        }

    @classmethod
    def told(cls, scores: dict[str, float]) -> list[tuple[str, str]]:
        """The extremes, and the confident share; no single classes."""
        for name in [name for name in scores if name.startswith("class_share/")]:
            del scores[name]
        found = []
        if "smallest_class" in scores:
            small, large = scores.pop("smallest_class"), scores.pop("largest_class")
            found.append(("class shares", f"smallest {small:.1%}, largest {large:.1%}"))
        if "confident" in scores:
            real = scores.pop("confident_real", None)
            beside = f" (real {real:.1%})" if real is not None else ""
            found.append(("confident samples", f"{scores.pop('confident'):.1%}{beside}"))
        return found
