"""The checks of a run's health: each makes a reading of what it is shown, or none where it has nothing to say."""

from __future__ import annotations

import random
import statistics
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from gandist.contract.components import Source
from gandist.tracking.alarms import Reading
from gandist.tracking.diversity import effective_number, features, nearest, shares_worth, spread

MEMORISABLE = 4096
"""Data sets of more images, or of files, are not searched for memorised ones."""
COMPARED = 256
"""Real images whose distance to their nearest neighbour says what is usual."""
USUAL = 5
"""Logged norms whose median says what the generator's gradient has been like."""


class RealSide:
    """What samples of a probe are compared with: `count` real ones, and all of a small data set."""

    def __init__(self, source: Source, count: int):
        rows = source.read(sorted(random.Random(0).sample(range(len(source)), min(count, len(source)))))
        self._rows = features(rows["real"])
        self._scale = spread(self._rows)
        self.different = effective_number(self._rows, self._scale)
        """How many different samples `count` real ones are worth."""
        labels = Counter(rows["labels"].tolist()) if "labels" in rows else Counter()
        self.classes = shares_worth(torch.tensor([*labels.values()]) / max(1, labels.total()))
        """How many equally frequent classes their labels are worth."""
        self._training, self._usual = self._memorisable(source)

    def _memorisable(self, source: Source) -> tuple[Tensor | None, float]:
        """The features of all training images, and the median distance of one to its nearest neighbour."""
        if not source.facts.images or source.slow or len(source) > MEMORISABLE:
            return None, 0.0
        everything = features(source.read(range(len(source)))["real"])
        some = slice(None, None, max(1, len(everything) // COMPARED))
        return everything, float(nearest(everything[some], everything, some).median())

    def collapse(self, rows: Tensor, least: float, begun: bool = True) -> Reading | None:
        """Whether the samples (B, F) are different from each other.

        begun: whether they have been, in this run. Until then they are excused if they lie apart at all: a generator
        that has learnt nothing yet makes all of them nearly grey.
        """
        if self.different < 1.5:
            return None
        worth = effective_number(rows, self._scale)
        value = max(0.0, (worth - 1) / (self.different - 1))
        text = f"{len(rows)} samples are worth {worth:.1f} different ones, as many real ones {self.different:.1f}"
        excused = not begun and len(rows) > 1 and spread(rows) >= least * self._scale
        return Reading("collapse", value, least, text, excused=excused)

    def memorisation(self, rows: Tensor, least: float) -> Reading | None:
        """Whether the samples (B, F) are farther from the training images than these from each other."""
        if self._training is None or not 1e-2 * self._scale < self._usual < torch.inf or not len(rows):
            return None
        value = float(nearest(rows, self._training).median()) / self._usual
        text = f"samples are {value:.2f} times as far from a training image as those are from each other"
        return Reading("memorisation", value, least, text)


class Gradient:
    """What the generator's gradient has been like: the greatest median of a few logged norms."""

    def __init__(self, norms: Iterable[float] = (), usual: float = 0.0) -> None:
        self._norms, self._usual = deque(norms, maxlen=USUAL), usual

    @property
    def state(self) -> dict[str, Any]:
        """The arguments that make it again."""
        return {"norms": list(self._norms), "usual": self._usual}

    def remember(self, norm: Any) -> None:
        """One more logged norm."""
        if isinstance(norm, float):
            self._norms.append(norm)
            if len(self._norms) == USUAL:
                self._usual = max(self._usual, statistics.median(self._norms))

    def vanished(self, norm: float, least: float) -> Reading | None:
        """Whether it is small beside that."""
        if not self._usual:
            return None
        text = f"the generator's gradient has a norm of {norm:.2g}, it was {self._usual:.2g} in this run"
        return Reading("gradient", norm / self._usual, least, text)


def saturation(scalars: Mapping[str, float], gap: float, accuracy: float) -> Reading | None:
    """Whether the discriminator is right about everything, and sure of it."""
    keys = [f"{what}/{side}" for what in ("logits", "accuracy") for side in ("real", "fake")]
    if not scalars.keys() >= set(keys):
        return None
    real, fake, right_real, right_fake = (scalars[key] for key in keys)
    text = (
        f"the discriminator is right about {right_real:.1%} of the real and {right_fake:.1%} of the generated samples, "
        f"with mean logits of {real:.3g} and {fake:.3g}"
    )
    # A gap says nothing where it is wrong about many.
    value = max(0.0, real - fake) if min(right_real, right_fake) >= accuracy else 0.0
    return Reading("saturation", value, gap, text, below=False)


def classes(metrics: Mapping[str, float], real: float, least: float) -> Reading | None:
    """Whether the samples have as many classes as real ones, where an evaluation has counted them."""
    shares = [value for name, value in metrics.items() if name.startswith("class_share/")]
    if not shares or real < 1.5:
        return None
    worth = shares_worth(torch.tensor(shares))
    text = f"the samples' classes are worth {worth:.1f} equally frequent ones, those of real samples {real:.1f}"
    return Reading("classes", worth / real, least, text)
