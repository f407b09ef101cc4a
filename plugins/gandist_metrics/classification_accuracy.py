"""Classification accuracy score (Ravuri & Vinyals 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from gandist import Compared, Extractor, Facts, Metric, Real, Scored, Source, train_classifier
from gandist_metrics.pixels import Flat, Pixels

_SIDE = 32
"""What the classifier looks at; larger images are averaged down to it."""
_TESTED = 10_000


class ClassificationAccuracy(Metric):
    """Accuracy on real images of a classifier that has seen samples only, with the labels they were asked for.

    It shows what distances in a feature space pass over: classes that are blurred, mixed up, or poor in variety. Beside
    it stands the accuracy after as many real images. The classifier is the small one of `features: classifier`, anew
    for each evaluation.
    """

    name: ClassVar[str] = "classification-accuracy"
    scores: ClassVar[tuple[str, ...]] = ("classification_accuracy",)
    floors: ClassVar[tuple[str, ...]] = ("classification_accuracy",)
    gathers: ClassVar[tuple] = ("features", "labels")

    limit: int = Field(default=20_000, ge=10)
    """Samples that the classifier is trained on, the first of those that are scored."""

    def space(self, features: Extractor) -> Extractor:
        """The images themselves, small."""
        return Pixels(size=_SIDE)

    def unfit(self, source: Source) -> str | None:
        """Labelled images of several classes."""
        if not source.facts.images:
            return "needs images, the data set has points; use modes"
        return None if source.facts.classes > 1 else "needs a data set with at least 2 classes; use frechet"

    def classes(self, facts: Facts) -> Literal["asked"]:
        """What a classifier sees in a sample is no label to train another one on."""
        return "asked"

    def statistics(self, real: Real) -> dict[str, Tensor]:
        """Images uint8 (M, C, h, w) and labels (M,) to test on: those held out from the training, if the data set has
        labelled ones; else the reference half, which the other half beside it does not see either."""
        small = Flat(_SIDE)
        parts = [(small(part.samples), part.labels) for part in _tests(real) if part.samples is not None]
        labels = torch.cat([labels for _, labels in parts if labels is not None])
        return {"images": _images(torch.cat([rows for rows, _ in parts]), real.facts), "labels": labels}

    def compare(self, compared: Compared) -> dict[str, float]:
        """A share from 0 to 1."""
        fake, known = compared.fake, compared.known
        assert fake.features is not None
        assert fake.labels is not None
        training = _images(fake.features[: self.limit], compared.facts), fake.labels[: self.limit]
        tests, classes = (known["images"], known["labels"]), compared.facts.classes
        return {"classification_accuracy": compared.once(lambda: train_classifier(training, tests, classes).accuracy)}


def _tests(real: Real) -> Iterator[Scored]:
    held = real.source.held_out()
    if held is None or not {"real", "labels"} <= held.read([0]).keys():
        return real.batches("reference", _TESTED)
    chunks = torch.arange(min(len(held), _TESTED)).split(250)
    read = (held.read(chunk.tolist()) for chunk in chunks)
    return (Scored(rows["real"], labels=rows["labels"]) for rows in read)


def _images(rows: Tensor, facts: Facts) -> Tensor:
    """Bytes (B, C, h, w) of what `pixels` makes of images (B, D)."""
    channels, *sides = facts.shape
    return rows.mul(255).round_().to(torch.uint8).view(-1, channels, *(min(_SIDE, side) for side in sides))
