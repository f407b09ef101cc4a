"""The metrics by name. Each is a function of sums over samples, so any split over ranks gives the same score."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from gandist.contract.components import Source
from gandist.contract.facts import Facts
from gandist.errors import did_you_mean
from gandist.evaluation.modes import Modes
from gandist.evaluation.reference import Reference, confident
from gandist.evaluation.statistics import frechet_distance, moment_sums, moments


@dataclass(frozen=True)
class Scored:
    """A batch of samples, uint8 (B, C, H, W) or points (B, D), with what the classifier, if there is one, says of it.

    features: (B, D). logits: (B, classes).
    """

    samples: Tensor
    features: Tensor | None = None
    logits: Tensor | None = None


class Metric(Protocol):
    """A score that follows from sums over samples."""

    width: int
    """How many numbers are summed."""

    def sums(self, batch: Scored) -> Tensor:
        """What the batch adds to the sums, float64 (width,)."""
        ...

    def result(self, sums: Tensor, count: int) -> dict[str, float]:
        """The scores by name, from the sums over all `count` samples."""
        ...


class FrechetMetric:
    """Fréchet distance to the reference half of the real samples, beside the distance of real samples to it."""

    def __init__(self, reference: Reference):
        self._reference = reference
        dimensions = len(reference.mean)
        self.width = dimensions + dimensions**2

    def sums(self, batch: Scored) -> Tensor:
        """Moment sums of the features."""
        assert batch.features is not None
        return moment_sums(batch.features)

    def result(self, sums: Tensor, count: int) -> dict[str, float]:
        """`frechet`, and `frechet_real`, the least that as many samples can be expected to reach."""
        real = self._reference
        distance = frechet_distance(*moments(sums, count), real.mean, real.covariance)
        return {"frechet": distance, "frechet_real": real.frechet}


class ClassesMetric:
    """Which classes the classifier sees in the samples, and how sure it is."""

    def __init__(self, reference: Reference):
        self._reference = reference
        self._classes = reference.classifier.head.out_features
        self.width = self._classes + 1

    def sums(self, batch: Scored) -> Tensor:
        """Samples per class, and the confident ones."""
        assert batch.logits is not None
        counts = torch.bincount(batch.logits.argmax(1), minlength=self._classes)
        return torch.cat([counts, confident(batch.logits).sum()[None]]).double()

    def result(self, sums: Tensor, count: int) -> dict[str, float]:
        """Shares from 0 to 1."""
        *shares, sure = (sums / count).tolist()
        return {
            "smallest_class": min(shares),
            "largest_class": max(shares),
            "confident": sure,
            "confident_real": self._reference.confident,
            **{f"class_share/{index}": share for index, share in enumerate(shares)},
        }


class ModesMetric:
    """Modes of a Gaussian mixture."""

    def __init__(self, source: Source):
        mixture: Any = source
        self._modes = Modes(mixture.centers, mixture.sigma)
        self.width = self._modes.width

    def sums(self, batch: Scored) -> Tensor:
        """Points and good points per mode."""
        return self._modes.sums(batch.samples)

    def result(self, sums: Tensor, count: int) -> dict[str, float]:
        """`modes_hit` of `modes`, `good` (share from 0 to 1), `reverse_kl` (nats)."""
        return self._modes.result(sums, count)


METRICS: dict[str, Literal["labels", "centers"]] = {"frechet": "labels", "classes": "labels", "modes": "centers"}
"""What each metric needs of the data set: labelled images, or the centers and sigma of a mixture."""

SCORES: dict[str, tuple[str, ...]] = {
    "frechet": ("frechet", "frechet_real"),
    "classes": ("smallest_class", "largest_class", "confident", "confident_real"),
    "modes": ("modes_hit", "modes", "good", "reverse_kl"),
}
"""The scores that each metric gives, without those of single classes."""


def scores(metrics: Iterable[str]) -> list[str]:
    """The names of the scores that these metrics give."""
    return [score for name in metrics for score in SCORES.get(name, ())]


def build(name: str, source: Source, reference: Reference | None) -> Metric:
    """The metric of that name; `reference` is there if any of the metrics asked for needs labels."""
    if name == "modes":
        return ModesMetric(source)
    assert reference is not None
    return FrechetMetric(reference) if name == "frechet" else ClassesMetric(reference)


def validate(metrics: Iterable[str], facts: Facts, source: Source) -> list[str]:
    """Why these metrics cannot be computed on such data, one line a problem; [] if they can."""
    problems = []
    for name in metrics:
        if name == "fid":
            problems.append("'fid' is kept for Inception features, which are not there yet; use frechet")
        elif name not in METRICS:
            problems.append(
                f"unknown metric '{name}'{did_you_mean(name, METRICS)}; known: {', '.join(sorted(METRICS))}"
            )
        elif METRICS[name] == "centers" and not (hasattr(source, "centers") and hasattr(source, "sigma")):
            problems.append(f"{name} needs a data set with known modes (gaussians); use frechet or classes")
        elif METRICS[name] == "labels" and not facts.images:
            problems.append(f"{name} needs images, the data set has points; use modes")
        elif METRICS[name] == "labels" and facts.classes < 2:
            problems.append(
                f"{name} needs a data set with at least 2 classes, to train its classifier on; this one has no such "
                "labels (sort the images into class folders, or set evaluate.every to 0)"
            )
        elif METRICS[name] == "labels" and facts.size < 4:
            problems.append(f"{name} needs at least 4 real samples, the data set has {facts.size}")
    return problems
