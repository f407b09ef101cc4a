"""Whether a classifier of a few real images gains by synthetic ones, whoever made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from gandist.contract.noise import key
from gandist.errors import ConfigError
from gandist.using.augmenting.interval import Interval, interval
from gandist.using.augmenting.learning import STEPS, Labelled, accuracy, learn

REAL, STANDARD, SYNTHETIC = "real", "standard", "synthetic"
"""Trained on: real images; the same with standard augmentation; these and synthetic images, both with standard
augmentation."""
Verdict = Literal["helps", "hurts", "no difference shown"]


@dataclass(frozen=True)
class Comparison:
    """accuracies: on the test images, one a seed, by what was trained on."""

    accuracies: Mapping[str, Sequence[float]]

    def of(self, trained_on: str) -> Interval:
        """Mean accuracy, and its interval over seeds: other real images, first weights, batches, synthetic images."""
        return interval(self.accuracies[trained_on])

    @property
    def gain(self) -> Interval:
        """Mean of `synthetic` minus `standard` of the same seed, and its paired interval."""
        pairs = zip(self.accuracies[SYNTHETIC], self.accuracies[STANDARD], strict=True)
        return interval([ours - theirs for ours, theirs in pairs])

    @property
    def verdict(self) -> Verdict:
        """What the interval of the gain says."""
        gain = self.gain
        return "helps" if gain.low > 0 else "hurts" if gain.high < 0 else "no difference shown"


def few(pool: Labelled, classes: int, each: int, seed: int) -> Labelled:
    """`each` images of every class of the pool, drawn by the seed. Raises ConfigError for a class that has fewer."""
    chosen = []
    for label in range(classes):
        rows = (pool.labels == label).nonzero()[:, 0]
        if len(rows) < each:
            raise ConfigError(
                f"--real {each}: there are {len(rows)} images of class {label} to draw from; give --real "
                f"{len(rows)} or less" + ("" if len(rows) else ", and put images of it into the data set")
            )
        generator = torch.Generator().manual_seed(key(seed, "real", label))
        chosen.append(rows[torch.randperm(len(rows), generator=generator)[:each]])
    together = torch.cat(chosen)
    return Labelled(pool.images[together], pool.labels[together])


def compare(
    pool: Labelled,
    test: Labelled,
    synthetic: Callable[[int], Labelled],
    *,
    classes: int,
    each: int,
    seeds: int,
    device: torch.device | None = None,
    steps: int = STEPS,
    told: Callable[[int], None] = lambda seed: None,
) -> Comparison:
    """Trains the same classifier three times for each seed and tests it on the same images.

    pool: real images, of which each seed draws `each` a class. test: real images that are not in it. synthetic: the
    images added, by seed. told: hears of a seed that is done. Raises ConfigError for fewer than 2 seeds, and for a
    class without enough images.
    """
    if seeds < 2:
        raise ConfigError(f"--seeds {seeds}: an interval needs at least 2")
    if each < 1:
        raise ConfigError(f"--real {each}: at least 1 image of each class is needed")
    for label in range(classes):
        if not bool((test.labels == label).any()):
            raise ConfigError(f"no test image is of class {label}; the accuracy would say nothing of it")
    device = device or torch.device("cpu")
    accuracies: dict[str, list[float]] = {REAL: [], STANDARD: [], SYNTHETIC: []}
    for seed in range(seeds):
        real = few(pool, classes, each, seed)
        trainings = {REAL: ([real], False), STANDARD: ([real], True), SYNTHETIC: ([real, synthetic(seed)], True)}
        for name, (parts, augmented) in trainings.items():
            classifier = learn(parts, classes, seed, device, augmented=augmented, steps=steps)
            accuracies[name].append(accuracy(classifier, test))
        told(seed)
    return Comparison(accuracies)
