"""Checks of data sets."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import torch
from torch import Tensor

from gandist.contract.components import Dataset, Source
from gandist.contract.facts import Facts


def check_dataset(dataset: Dataset, *, count: int = 12) -> None:
    """Opens a data set, reads about `count` samples and raises AssertionError where the contract fails.

    Its facts describe what is read; a sample depends on its index alone, whatever is read with it and in whatever
    order; the source can be sent to another process; opened again it is the same, fingerprint included.
    """
    source = dataset.open()
    facts = source.facts
    _check_facts(dataset.name, facts)
    assert len(source) == facts.size, f"{dataset.name}: len() is {len(source)}, facts.size {facts.size}"
    streams = source.streams()
    assert streams, f"{dataset.name}: streams() is empty"
    for stream in streams.values():
        _check_reads(dataset.name, stream, _spread(len(stream), count))
    entries = _first_rows(streams.values())
    for stream in streams.values():
        _check_entries(dataset.name, stream, source.entries)
    missing = [entry for entry in source.entries if entry not in entries]
    assert not missing, f"{dataset.name}: read() gives {', '.join(entries)}, but no '{missing[0]}'"
    _check_samples(dataset.name, source.read(_spread(len(source), count)), facts, source.entries)

    twin = dataset.open()
    assert twin.facts == facts, f"{dataset.name}: opened again it has other facts: {twin.facts}, not {facts}"
    chosen = _spread(len(source), count)
    _require_equal(f"{dataset.name}, opened again", twin.read(chosen), source.read(chosen))


def _spread(size: int, count: int) -> list[int]:
    """About `count` indices over the whole range, the first and the last among them."""
    return sorted({round(index * (size - 1) / max(1, count - 1)) for index in range(count)})


def _first_rows(streams) -> dict[str, Tensor]:
    rows: dict[str, Tensor] = {}
    for stream in streams:
        rows |= stream.read([0])
    return rows


def _check_facts(name: str, facts: Facts) -> None:
    assert len(facts.shape) in (1, 3), f"{name}: a sample is (C, H, W) or (D,), not {facts.shape}"
    assert all(isinstance(n, int) and n > 0 for n in facts.shape), f"{name}: shape {facts.shape}"
    assert facts.size > 0, f"{name}: has no samples"
    assert facts.classes >= 0, f"{name}: {facts.classes} classes"
    assert isinstance(facts.fingerprint, str), f"{name}: its fingerprint should be a string"
    assert facts.fingerprint, f"{name}: has no fingerprint, so caches would mix it up with others"
    named = len(facts.class_names)
    assert named in (0, facts.classes), f"{name}: {named} class names for {facts.classes} classes"


def _check_entries(name: str, stream: Source, all_entries: Sequence[str]) -> None:
    """A stream says what it gives, and shows every sample anew as its place in the stream says."""
    unknown = [entry for entry in stream.entries if entry not in all_entries]
    assert not unknown, f"{name}: a stream gives '{unknown[0]}', which is not among its source's entries"
    chosen = [0, len(stream) - 1, 0, len(stream) // 2]
    rows = stream.varied(chosen, 1, 10)
    _require_equal(f"{name}, varied again", stream.varied(chosen, 1, 10), rows)
    parts = [stream.varied(chosen[:1], 1, 10), stream.varied(chosen[1:], 1, 11)]
    apart = {entry: torch.cat([part[entry] for part in parts]) for entry in rows}
    _require_equal(f"{name}, varied in two parts", apart, rows)


def _check_samples(name: str, rows: dict[str, Tensor], facts: Facts, entries: Sequence[str]) -> None:
    real = rows[entries[0]]
    for real in (rows[entry] for entry in entries):
        assert tuple(real.shape[1:]) == facts.shape, f"{name}: samples {tuple(real.shape[1:])}, facts say {facts.shape}"
        wanted = torch.uint8 if facts.images else torch.float32
        assert real.dtype == wanted, f"{name}: samples are {real.dtype}, should be {wanted}"
        if not facts.images:
            assert real.isfinite().all(), f"{name}: a point is not finite"
    labels = rows.get("labels")
    assert (labels is None) == (facts.classes == 0), (
        f"{name}: facts say {facts.classes} classes, but read() gives {'no ' if labels is None else ''}labels"
    )
    if labels is not None:
        assert labels.dtype == torch.int64, f"{name}: labels are {labels.dtype}, should be int64"
        assert labels.shape == real.shape[:1], f"{name}: labels {tuple(labels.shape)} for {len(real)} samples"
        low, high = int(labels.min()), int(labels.max())
        assert low >= 0, f"{name}: a label is {low}"
        assert high < facts.classes, f"{name}: a label is {high}, facts say {facts.classes} classes"


def _check_reads(name: str, source: Source, chosen: Sequence[int]) -> None:
    rows = source.read(chosen)
    for entry, value in rows.items():
        assert len(value) == len(chosen), f"{name}: '{entry}' has {len(value)} rows for {len(chosen)} indices"
    _require_equal(f"{name}, read again", source.read(chosen), rows)
    backwards = {entry: value.flip(0) for entry, value in source.read(chosen[::-1]).items()}
    _require_equal(f"{name}, read backwards", backwards, rows)
    single = [source.read([index]) for index in chosen]
    alone = {entry: torch.cat([row[entry] for row in single]) for entry in rows}
    _require_equal(f"{name}, read one by one", alone, rows)
    try:
        sent = pickle.loads(pickle.dumps(source))
    except Exception as error:
        raise AssertionError(f"{name}: its source cannot be sent to a loader process: {error}") from error
    _require_equal(f"{name}, read in another process", sent.read(chosen), rows)


def _require_equal(what: str, one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys(), f"{what}: entries {', '.join(one)}, before {', '.join(other)}"
    for entry, value in one.items():
        assert torch.equal(value, other[entry]), (
            f"{what}: '{entry}' is different; a sample may depend on its index alone"
        )
