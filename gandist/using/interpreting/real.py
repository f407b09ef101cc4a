"""The data that a run was trained on, and what of it the run has not seen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, get_args

import torch
from torch import Tensor

from gandist.contract.components import Dataset, Source
from gandist.contract.noise import key
from gandist.errors import ConfigError, GandistError
from gandist.using.trained import Trained

_BLOCK = 64 * 2**20
"""Bytes of samples that are read at once, as 8-byte numbers."""


def training_data(trained: Trained) -> tuple[Source, str | None]:
    """The run's data set, opened and brought here; and a warning if it is no longer what the run was trained on.

    Raises ConfigError if its samples are of another shape, or if it has none of the kind that a generator makes.
    """
    source = _opened(trained.config.dataset)
    facts = source.facts
    if facts.shape != trained.facts.shape:
        raise ConfigError(
            f"{trained.path}: was trained on samples of shape {trained.facts.shape}; its data set "
            f"{trained.config.dataset.name} now has {facts.shape}"
        )
    if "real" not in source.read([0]):
        raise ConfigError(f"{trained.path}: its data set {trained.config.dataset.name} has no single kind of samples")
    if facts.fingerprint == trained.facts.fingerprint:
        return source, None
    return source, f"the data set {trained.config.dataset.name} has changed since {trained.path} was trained on it"


def _opened(dataset: Dataset) -> Source:
    source = dataset.open()
    for stream in source.streams().values():
        stream.prepare(lambda text: print(f"fetching the data, {text}", file=sys.stderr))
    return source


def unseen_data(trained: Trained) -> tuple[Source | None, str]:
    """Samples that the run was not trained on, and what they are; or None, and why there are none.

    They are there where the data set has a field `split` that takes train and test, and the run was trained on one.
    """
    dataset = trained.config.dataset
    field = type(dataset).model_fields.get("split")
    parts: tuple[Any, ...] = get_args(field.annotation) if field is not None else ()
    if not {"train", "test"} <= set(parts):
        return None, f"the data set {dataset.name} has no split into train and test"
    used = getattr(dataset, "split")  # noqa: B009  (a field that not every data set has)
    if used not in ("train", "test"):
        return None, f"the run was trained on dataset.split: {used}, which leaves nothing out; train on train"
    other = "test" if used == "train" else "train"
    try:
        source = _opened(dataset.model_copy(update={"split": other}))
    except GandistError as error:
        return None, f"the {other} part cannot be opened: {error}"
    if source.facts.shape != trained.facts.shape:
        return None, f"the {other} part has samples of shape {source.facts.shape}"
    return source, f"{other} part of {dataset.name}"


def blocks(source: Source) -> Iterator[tuple[int, Tensor]]:
    """All samples in order, in parts of at most 64 MiB once they are float64: the index of the first, and the part."""
    width = 1
    for size in source.facts.shape:
        width *= size
    rows = max(1, _BLOCK // (8 * width))
    for start in range(0, len(source), rows):
        yield start, source.read(range(start, min(len(source), start + rows)))["real"]


def drawn(source: Source, count: int, seed: int, label: int | None) -> Iterator[dict[str, Tensor]]:
    """Up to `count` samples of the source, all different, in an order that the seed decides: {"real", "labels"}, at
    most 64 at a time. label: of this class only."""
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(key(seed, "real samples")))
    left = count
    for part in order.split(64):
        if left <= 0:
            return
        read = source.read(part.tolist())
        if label is not None:
            chosen = read["labels"] == label
            read = {name: rows[chosen] for name, rows in read.items() if name in ("real", "labels")}
        read = {name: rows[:left] for name, rows in read.items()}
        left -= len(read["real"])
        yield read
