"""Whether the images of a run help a classifier of the run's data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from gandist.contract.components import Source
from gandist.errors import ConfigError
from gandist.evaluation.fitting import MOST_HELD_OUT, MOST_TRAINED, held_out, order, read
from gandist.using.augmenting.asked import alike, require_labelled
from gandist.using.augmenting.compare import compare
from gandist.using.augmenting.interval import CONFIDENCE
from gandist.using.augmenting.learning import Labelled
from gandist.using.augmenting.made import Maker
from gandist.using.interpreting.real import training_data, unseen_data
from gandist.using.trained import Trained

PER_CLASS, REAL, SEEDS = 100, 10, 5


def measure(
    maker: Maker,
    real: int = REAL,
    per_class: int = PER_CLASS,
    seeds: int = SEEDS,
    told: Callable[[int], None] = lambda seed: None,
) -> dict[str, Any]:
    """Accuracies with `real` images a class, with standard augmentation, and with `per_class` synthetic ones added.

    The test images are those that the data set keeps from training, where it does; else a fifth of the training data,
    and `seen` says that the generator had them. Raises ConfigError where there are too few labelled images.
    """
    trained = maker.trained
    require_labelled(trained)
    alike(trained.facts, per_class)
    source, warning = training_data(trained)
    pool, test, about, seen = _split(trained, source)
    classes = trained.facts.classes

    def synthetic(seed: int) -> Labelled:
        made = [maker.images(label, per_class, seed) for label in range(classes)]
        return Labelled(torch.cat(made), torch.arange(classes).repeat_interleave(per_class))

    found = compare(pool, test, synthetic, classes=classes, each=real, seeds=seeds, device=trained.device, told=told)
    notes = [*([warning] if warning else []), *_notes(trained, real * classes, seen, about, maker)]
    return {
        "verdict": found.verdict,
        "gain": asdict(found.gain),
        "accuracy": {name: asdict(found.of(name)) for name in found.accuracies},
        "by_seed": {name: list(values) for name, values in found.accuracies.items()},
        "confidence": CONFIDENCE,
        "real_per_class": real,
        "synthetic_per_class": per_class,
        "seeds": seeds,
        "test_images": len(test),
        "test": about,
        "seen": seen,
        "step": trained.step,
        "notes": notes,
    }


def _split(trained: Trained, source: Source) -> tuple[Labelled, Labelled, str, bool]:
    """Images to draw from, images to test on, what those are, and whether the generator was trained on them."""
    unseen, about = source.held_out(), f"held out by {trained.config.dataset.name}"
    if unseen is None or not _fit(trained, unseen):
        unseen, about = unseen_data(trained)
    if unseen is not None and _fit(trained, unseen):
        pool, test = order(source, "held out")[:MOST_TRAINED], order(unseen, "held out")[:MOST_HELD_OUT]
        return Labelled(*read(source, pool)), Labelled(*read(unseen, test)), about, False
    if len(source) < 2 * trained.facts.classes:
        raise ConfigError(f"{trained.path}: {len(source)} images are too few to keep some of each class for a test")
    pool, test = held_out(source)
    return Labelled(*read(source, pool)), Labelled(*read(source, test)), f"a fifth of the training data; {about}", True


def _fit(trained: Trained, unseen: Source) -> bool:
    """Whether these are labelled images of the run's kind."""
    facts = unseen.facts
    same = (facts.shape, facts.classes) == (trained.facts.shape, trained.facts.classes)
    return same and {"real", "labels"} <= unseen.read([0]).keys()


def _notes(trained: Trained, real: int, seen: bool, about: str, maker: Maker) -> list[str]:
    """What whoever reads the gain should know."""
    notes = []
    if seen:
        notes.append(f"the generator was trained on the test images too, so the gain is flattered: {about}")
    if trained.facts.size > real:
        notes.append(
            f"the generator was trained on {trained.facts.size:,} images and the classifiers on {real:,} of them: the "
            "gain includes what the generator saw of the others"
        )
    if maker.agree is not None:
        notes.append("--agree asks a classifier that was trained on the whole data set of the run")
    return notes
