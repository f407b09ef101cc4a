"""Data sets of whose labels training sees a few: which samples these are, and what is held out for the test error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gandist import ConfigError, Dataset, Source

LABELLED = {"real": "labelled", "labels": "labelled_classes"}
"""What the entries of labelled samples are called in a batch."""
UNLABELLED = {"real": "real"}


class Rows(Source):
    """The samples `rows` (int64) of a source. names: what its entries are called here; others are left out."""

    def __init__(self, source: Source, rows: Tensor, names: Mapping[str, str] | None = None):
        self.source, self.rows, self.names = source, rows, names
        self.slow, self.elsewhere = source.slow, source.elsewhere
        digest = hashlib.sha256(f"{source.facts.fingerprint} {names}".encode())
        digest.update(rows.numpy().data)
        self.facts = replace(source.facts, size=len(rows), fingerprint=digest.hexdigest()[:32])

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The entries by their names here."""
        read = self.source.read(self.rows[torch.as_tensor(indices, dtype=torch.int64)].tolist())
        return read if self.names is None else {new: read[name] for name, new in self.names.items()}

    def prepare(self, told: Callable[[str], None]) -> None:
        """As the source does."""
        self.source.prepare(told)


class Joined(Source):
    """The samples of one source behind those of another, which have the same shape; without labels."""

    def __init__(self, first: Source, second: Source):
        self.first, self.second = first, second
        self.slow, self.elsewhere = first.slow or second.slow, first.elsewhere + second.elsewhere
        fingerprint = hashlib.sha256(f"{first.facts.fingerprint} {second.facts.fingerprint}".encode()).hexdigest()[:32]
        self.facts = replace(first.facts, size=len(first) + len(second), fingerprint=fingerprint)

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The entry real, in the order asked for."""
        cut, wanted = len(self.first), torch.as_tensor(indices, dtype=torch.int64)
        real = torch.empty((len(wanted), *self.facts.shape), dtype=torch.uint8 if self.facts.images else torch.float32)
        for source, chosen, begin in ((self.first, wanted < cut, 0), (self.second, wanted >= cut, cut)):
            if chosen.any():
                real[chosen] = source.read((wanted[chosen] - begin).tolist())["real"]
        return {"real": real}

    def prepare(self, told: Callable[[str], None]) -> None:
        """Both."""
        self.first.prepare(told)
        self.second.prepare(told)


class PartlyLabelled(Rows):
    """The training part of a source. Training reads all of it without labels, and beside them the few with theirs.

    Who reads it by index gets all labels: scores know them. held: samples that are in neither; None leaves it to the
    source. more: others that training reads without labels.
    """

    def __init__(
        self, source: Source, training: Tensor, labelled: Tensor, held: Tensor | None, more: Source | None = None
    ):
        super().__init__(source, training)
        self.labelled, self.held, self.more = labelled, held, more
        parts = (self.facts, Rows(source, labelled).facts, *([more.facts] if more else []))
        digest = hashlib.sha256(" ".join(part.fingerprint for part in parts).encode())
        self.facts = replace(self.facts, fingerprint=digest.hexdigest()[:32])

    def streams(self) -> Mapping[str, Source]:
        """Each shuffled by itself: all samples, and those whose labels are seen."""
        few, every = Rows(self.source, self.labelled, LABELLED), Rows(self.source, self.rows, UNLABELLED)
        # They come with the others.
        few.elsewhere = 0
        return {"": Joined(every, self.more) if self.more else every, "labelled": few}

    def held_out(self) -> Source | None:
        """The published test samples, or the part that was put aside."""
        return self.source.held_out() if self.held is None else Rows(self.source, self.held)


class Labelling(Dataset):
    """What all data sets with labels have in common: training may be shown a few of them only."""

    labelled: int | None = Field(default=None, ge=2)
    """Samples whose labels training sees, as many of each class; the others serve without theirs. null shows all."""
    labelled_seed: int = Field(default=0, ge=0, lt=2**31)
    """Which samples are the labelled ones."""

    def as_seen(self, source: Source, labels: Any, split: bool, more: Source | None = None) -> Source:
        """The source as training may see it. labels: int64 (N,), or None. more: others without labels.

        split: a fixed fifth of each class is held out, for want of published test samples. Neither with all labels
        shown and no others.
        """
        if self.labelled is None and more is None:
            return source
        labels = _by_class(labels, self.labelled, source.facts.classes, source.facts.class_names)
        training, held = _apart(labels, source.facts.classes) if split else (torch.arange(len(labels)), None)
        chosen = training
        if self.labelled is not None:
            chosen = _chosen(labels, training, self.labelled, self.labelled_seed, source)
        return PartlyLabelled(source, training, chosen, held, more)


def _by_class(labels: Any, count: int | None, classes: int, names: tuple[str, ...]) -> Tensor:
    """The labels as int64 (N,). Raises ConfigError if there are none, or cannot be as many of each class."""
    key = "labelled" if count is not None else "unlabelled"
    if labels is None or classes < 1:
        raise ConfigError(
            f"dataset.{key}: is set, but the samples have no labels; sort the images of dataset.root into a folder a "
            f"class, or leave dataset.{key} out"
        )
    if classes < 2:
        raise ConfigError(f"dataset.{key}: there is one class only, so there is nothing to tell apart; leave it out")
    if count is not None and count % classes:
        near = max(1, round(count / classes)) * classes
        raise ConfigError(
            f"dataset.labelled: should be a multiple of the {classes} classes, is {count}; set it to {near}"
        )
    labels = torch.as_tensor(labels, dtype=torch.int64)
    empty = (torch.bincount(labels, minlength=classes) == 0).nonzero().flatten().tolist()
    if empty:
        named = ", ".join(names[label] if names else str(label) for label in empty[:5])
        raise ConfigError(f"dataset.{key}: class {named} has no sample; add some, or remove the class")
    return labels


def _apart(labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Indices for training and, of each class, a fixed random fifth that is held out."""
    # RandomState and not default_rng: its stream is the same in every version of numpy (NEP 19).
    shuffled = torch.from_numpy(np.random.RandomState(0).permutation(len(labels)))
    held = torch.cat([_of_class(shuffled, labels, label, share=5) for label in range(classes)]).sort().values
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[held] = False
    return kept.nonzero().flatten(), held


def _of_class(shuffled: Tensor, labels: Tensor, label: int, share: int) -> Tensor:
    rows = shuffled[labels[shuffled] == label]
    return rows[: len(rows) // share]


def _chosen(labels: Tensor, training: Tensor, count: int, seed: int, source: Source) -> Tensor:
    """The samples of the training part whose labels are seen, as many of each class, in ascending order."""
    classes, names = source.facts.classes, source.facts.class_names
    shuffled = training[torch.from_numpy(np.random.RandomState(seed).permutation(len(training)))]
    each, chosen = count // classes, []
    for label in range(classes):
        rows = shuffled[labels[shuffled] == label]
        if len(rows) < each:
            raise ConfigError(
                f"dataset.labelled: {count} are {each} of each class, but class {names[label] if names else label} has "
                f"{len(rows)} for training; set it to at most {_most(labels[training], classes)}"
            )
        chosen.append(rows[:each])
    return torch.cat(chosen).sort().values


def _most(labels: Tensor, classes: int) -> int:
    return int(torch.bincount(labels, minlength=classes).min()) * classes
