"""Variety within a class, which neither a classifier's certainty nor the shares of classes show."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from gandist import Compared, Facts, Metric, squared_distances
from gandist_metrics.labels import classes_of


class Diversity(Metric):
    """Mean distance in feature space between two samples of one class, averaged over classes; over all without classes.

    As intra-class LPIPS is used, with the evaluation's own features. What real samples have stands beside it: less is
    mode collapse within classes.
    """

    name: ClassVar[str] = "diversity"
    scores: ClassVar[tuple[str, ...]] = ("diversity",)
    floors: ClassVar[tuple[str, ...]] = ("diversity",)
    gathers: ClassVar[tuple] = ("features", "logits", "labels")

    def classes(self, facts: Facts) -> Literal["asked", "seen"] | None:
        """Those asked for, or seen, where there are some."""
        return "seen" if facts.classes > 1 else None

    def compare(self, compared: Compared) -> dict[str, float]:
        """`diversity`, and `diversity/CLASS` for each class with at least two samples."""
        points, facts = compared.points("fake"), compared.facts
        labelled = self.classes(facts) is not None
        labels = classes_of(compared.fake, facts, self.name) if labelled else torch.zeros(len(points)).long()
        labels = labels.to(points.device)

        def work(block: slice) -> Tensor:
            distances = squared_distances(points[block], points).sqrt_()
            own = torch.arange(block.start, block.stop, device=points.device)
            # Rounding leaves a little between a sample and itself.
            distances[own - block.start, own] = 0
            return (distances * (labels[block, None] == labels)).double().sum(1)

        sums = compared.by_block(len(points), work)
        counts = torch.bincount(labels).double()
        totals = torch.zeros_like(counts).index_add_(0, labels, sums)
        means = {
            label: float(total / (count * (count - 1)))
            for label, (total, count) in enumerate(zip(totals, counts, strict=True))
            if count > 1
        }
        value = sum(means.values()) / len(means) if means else 0.0
        return {"diversity": value, **({f"diversity/{k}": v for k, v in means.items()} if labelled else {})}
