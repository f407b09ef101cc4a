"""A labelled data set of which one class is normal, and the others are what must be found."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, SerializeAsAny
from torch import Tensor

from gandist import ConfigError, Dataset, Facts, Source

CHUNK = 1000
"""Samples that are read at once for their labels alone."""


class Chosen(Source):
    """Some samples of a source, without their labels.

    numbers: int64 (N,). anomalous: bool (N,), or None for those that are trained on.
    """

    def __init__(self, source: Source, numbers: Tensor, about: str, anomalous: Tensor | None = None):
        whole = source.facts
        self._source, self._numbers, self._anomalous = source, numbers, anomalous
        self.facts = Facts(whole.shape, 0, len(numbers), f"{whole.fingerprint} {about}", fitted=whole.fitted)
        self.slow, self.elsewhere = source.slow, source.elsewhere  # type: ignore[misc]
        self.held: Chosen | None = None

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The samples; of held-out ones also whether they are anomalous, bool (B,)."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        batch = {"real": self._source.read(self._numbers[rows].tolist())["real"]}
        if self._anomalous is not None:
            batch["anomalous"] = self._anomalous[rows]
        return batch

    def prepare(self, told: Any) -> None:
        """As the whole."""
        self._source.prepare(told)

    def named(self, number: int) -> str:
        """As in the whole."""
        return self._source.named(int(self._numbers[number]))

    def held_out(self) -> Source | None:
        """Samples of all classes that no training sees."""
        return self.held


class OneClass(Dataset):
    """Any labelled data set, of which one class is trained on; held out are samples of all classes.

    The usual trial of methods that find anomalies without having seen one (Ruff et al. 2018, section 4.2).
    """

    name: ClassVar[str] = "one-class"

    of: SerializeAsAny[Dataset]
    """The labelled data set."""
    normal: int | str
    """Its class that is normal, by number or name."""
    test: SerializeAsAny[Dataset] | None = None
    """The samples to hold out, of the same classes; null takes those that `of` holds out, or else a share of it."""
    train: float = Field(default=0.8, gt=0.0, lt=1.0)
    """Share of the normal samples that are trained on, where none are held out otherwise."""
    split_seed: int = Field(default=0, ge=0, lt=2**31)
    """Which ones those are."""

    def open(self) -> Source:
        """Samples of the normal class; `held_out()` has the test samples and whether they are anomalous."""
        source = self.of.open()
        normal = self._number(source.facts)
        labels = _labels(source, self.of)
        mine = torch.nonzero(labels == normal).flatten()
        test = self.test.open() if self.test is not None else source.held_out()
        if test is not None:
            if test.facts.shape != source.facts.shape:
                raise ConfigError(f"dataset.test: has samples of {test.facts.shape}, dataset.of {source.facts.shape}")
            theirs = _labels(test, self.test or self.of)
            numbers = torch.arange(len(test))
        else:
            # RandomState and not default_rng: its stream is the same in every version of numpy (NEP 19).
            mine = mine[torch.from_numpy(np.random.RandomState(self.split_seed).permutation(len(mine)))]
            count = int(len(mine) * self.train)
            numbers = torch.cat([mine[count:], torch.nonzero(labels != normal).flatten()]).sort().values
            mine, test, theirs = mine[:count].sort().values, source, labels[numbers]
        if len(mine) < 2:
            raise ConfigError(f"dataset.normal: class {self.normal} has {len(mine)} samples to train on, too few")
        chosen = Chosen(source, mine, f"normal {normal} {self.split_seed} {self.train}")
        chosen.held = Chosen(test, numbers, f"not {normal}", theirs != normal)
        return chosen

    def like(self, facts: Facts, root: str) -> Source | None:
        """As the whole reads other data."""
        return self.of.like(facts, root)

    def _number(self, facts: Facts) -> int:
        names = facts.class_names
        if not facts.classes:
            raise ConfigError(f"dataset.of: {self.of.name} has no labels here, so no class of it can be normal")
        if isinstance(self.normal, str) and self.normal in names:
            return names.index(self.normal)
        if isinstance(self.normal, int) and 0 <= self.normal < facts.classes:
            return self.normal
        near = get_close_matches(self.normal, names, n=1, cutoff=0.6) if isinstance(self.normal, str) else []
        known = ", ".join(names[:12]) if names else f"0 to {facts.classes - 1}"
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"dataset.normal: there is no class {self.normal!r}{hint}; classes are {known}")


def _labels(source: Source, dataset: Dataset) -> Tensor:
    """Labels of all samples, int64 (N,)."""
    known = getattr(source, "labels", None)
    if known is None:
        parts = [source.read(range(start, min(len(source), start + CHUNK))) for start in range(0, len(source), CHUNK)]
        if "labels" not in parts[0]:
            raise ConfigError(f"dataset.test: {dataset.name} has no labels here")
        known = torch.cat([part["labels"] for part in parts])
    return torch.as_tensor(known, dtype=torch.int64)
