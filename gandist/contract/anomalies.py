"""Losses whose trained players can say how unlike the training data a sample is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class FindsAnomalies(Protocol):
    """A loss that scores samples by what its players have learnt, and by nothing else."""

    def anomaly(self, players: Mapping[str, nn.Module], samples: Tensor) -> Tensor:
        """How anomalous each sample is, (B,), higher is more; the same whatever else is in the batch.

        players: by name, in eval mode, the generator the smoothed one. samples: images (B, C, H, W) in [-1, 1], or
        points (B, D). Called without gradient.
        """
        ...


@runtime_checkable
class ShowsAnomalies(Protocol):
    """A loss that also says where in an image."""

    def heatmap(self, players: Mapping[str, nn.Module], images: Tensor) -> Tensor:
        """How anomalous each pixel is, (B, H, W), at least 0. images: (B, C, H, W) in [-1, 1]."""
        ...


def auroc(scores: Tensor, positive: Tensor) -> float:
    """Probability that a positive sample has the higher score of a random pair, ties counting half (Hanley and McNeil
    1982); NaN where one kind is missing.

    scores: (N,). positive: bool (N,).
    """
    count, other = int(positive.sum()), int((~positive).sum())
    if not count or not other:
        return float("nan")
    values, place, counts = torch.unique(scores.double(), return_inverse=True, return_counts=True)
    del values
    # Equal scores share the mean of the ranks that they take.
    ranks = counts.cumsum(0).double() - (counts.double() - 1) / 2
    return float((ranks[place[positive]].sum() - count * (count + 1) / 2) / (count * other))


def average_precision(scores: Tensor, positive: Tensor) -> float:
    """Mean over the positive samples of the precision among those with at least their score; NaN without any.

    scores: (N,). positive: bool (N,). As scikit-learn's `average_precision_score`: a step function, no interpolation.
    """
    if not positive.any():
        return float("nan")
    _, place = torch.unique(-scores.double(), return_inverse=True)
    levels = int(place.max()) + 1
    found = torch.zeros(levels, dtype=torch.float64).index_add_(0, place, positive.double())
    taken = torch.zeros(levels, dtype=torch.float64).index_add_(0, place, torch.ones_like(place, dtype=torch.float64))
    precision = found.cumsum(0) / taken.cumsum(0)
    return float((precision * found).sum() / found.sum())
