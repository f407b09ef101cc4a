"""Rows of a table as points: what is normal in them is learnt, what is not is held out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from gandist import ConfigError, Dataset, Facts, Source
from gandist_datasets.folders import Root
from gandist_datasets.table_encoding import Encoding, Points, fit
from gandist_datasets.table_reading import TARGET, Piece, TableFile, nearest
from gandist_datasets.table_room import require_room

Encoded = tuple[Points, NDArray[np.bool_] | None]
"""Points of some rows, and whether they are anomalous where the file says so."""


class Rows(Source):
    """Points in memory, with what their target says of them where there is one.

    anomalous: bool (N,), or None. numbers: of the rows in the file.
    """

    def __init__(self, points: Points, facts: Facts, numbers: NDArray[np.int64], anomalous: NDArray[np.bool_] | None):
        self.points, self.facts, self.numbers = torch.from_numpy(points), facts, numbers
        self.anomalous = None if anomalous is None else torch.from_numpy(anomalous)
        self._held: Rows | None = None

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Points float32 (B, D); of held-out rows also whether they are anomalous, bool (B,)."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        batch = {"real": self.points[rows]}
        if self.anomalous is not None:
            batch["anomalous"] = self.anomalous[rows]
        return batch

    def named(self, number: int) -> str:
        """The number of the row in its file, from 0, headers left out."""
        return str(self.numbers[number])

    def held_out(self) -> Source | None:
        """The rows that training never sees: the other normal ones, and all anomalous ones."""
        return self._held

    def holding(self, held: Rows) -> Rows:
        """Itself, with these rows held out."""
        self._held = held
        return self


class Table(Dataset):
    """Rows of a CSV, Parquet or .npz file, standardised: normal ones to train on, the others held out.

    A number is standardised by the training rows, a category becomes one coordinate a value. What was fitted is kept
    with the run, so that other tables with these columns can be read without the training data.
    """

    name: ClassVar[str] = "table"

    root: Root
    """The file: .csv with a line of names, .parquet, or .npz with `X` (N, D) and `y` (N,) if there are targets."""
    target: str | None = None
    """Column that says which rows are normal; null is `y` of an .npz, and elsewhere means that all rows are."""
    normal: str | int | bool = 0
    """What stands there in normal rows; all others are anomalous, and left out of training."""
    categorical: tuple[str, ...] = ()
    """Columns of categories rather than numbers."""
    leave_out: tuple[str, ...] = ()
    """Columns that are not looked at, such as numbers of customers."""
    most_categories: int = Field(default=50, ge=1, le=1000)
    """The commonest categories of a column get a coordinate each, the others are all zero."""
    train: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Share of the normal rows that are trained on; the others, and the anomalous ones, are held out."""
    split_seed: int = Field(default=0, ge=0, lt=2**31)
    """Which ones those are."""

    def open(self) -> Source:
        """Points (D,) of the training rows; `held_out()` has the other rows and whether they are anomalous."""
        try:
            return self._opened(TableFile(Path(self.root)))
        except ConfigError as error:
            raise ConfigError(f"dataset.root: {error}") from None

    def _opened(self, file: TableFile) -> Source:
        target, features = self._columns(file)
        texts = [name for name in features if name in self.categorical]
        numbers = [name for name in features if name not in self.categorical]
        require_room(file, features)
        rows = _joined(file.pieces(numbers, [*texts, *([target] if target else [])]))
        anomalous = self._anomalous(rows, target)
        training, held = self._split(anomalous)
        encoding = fit(features, rows, training, self.most_categories)
        points = encoding.encode(rows)
        shape, fitted = (encoding.width,), encoding.json()

        def facts(chosen: NDArray[np.int64]) -> Facts:
            digest = hashlib.sha256(fitted.encode())
            digest.update(np.ascontiguousarray(points[chosen]).data)
            return Facts(shape, 0, len(chosen), digest.hexdigest()[:32], fitted=fitted)

        unseen = Rows(points[held], facts(held), held, anomalous[held] if target else None)
        return Rows(points[training], facts(training), training, None).holding(unseen)

    def like(self, facts: Facts, root: str) -> Source:
        """Rows of another table with the columns that a run was trained on, encoded as there; their targets, if it
        has some. Raises ConfigError that names a column that is missing."""
        width, pieces = self._others(facts, root)
        parts = list(pieces)
        points = np.concatenate([points for points, _ in parts]) if parts else np.empty((0, width), np.float32)
        wrong = [anomalous for _, anomalous in parts if anomalous is not None]
        facts = Facts((width,), 0, len(points), f"{root} {len(points)}", fitted=facts.fitted)
        return Rows(points, facts, np.arange(len(points)), np.concatenate(wrong) if wrong else None)

    def blocks(self, facts: Facts, root: str, size: int) -> Iterator[tuple[list[str], dict[str, Tensor]]]:
        """The same rows, of which no more than a piece of the file is in memory at once."""
        return self._cut(self._others(facts, root)[1], size)

    def _cut(self, pieces: Iterator[Encoded], size: int) -> Iterator[tuple[list[str], dict[str, Tensor]]]:
        done = 0
        for points, anomalous in pieces:
            for start in range(0, len(points), size):
                part = slice(start, start + size)
                rows = {"real": torch.from_numpy(points[part])}
                if anomalous is not None:
                    rows["anomalous"] = torch.from_numpy(anomalous[part])
                yield [str(done + start + number) for number in range(len(rows["real"]))], rows
            done += len(points)

    def _others(self, facts: Facts, root: str) -> tuple[int, Iterator[Encoded]]:
        """Coordinates of a point, and the rows of another table, piece by piece; its columns are looked at here."""
        encoding, file = Encoding.read(facts.fitted), TableFile(Path(root))
        there = file.columns()
        for name in (*encoding.numbers, *encoding.texts):
            if name not in there:
                raise ConfigError(f"{root}: there is no column '{name}'{nearest(name, there)}, which the run needs")
        if file.kind == ".npz" and (found := len(there) - (TARGET in there)) != len(encoding.columns):
            # Their names are positions, which fit anything.
            raise ConfigError(f"{root}: has {found} columns of X, the run was trained on {len(encoding.columns)}")
        target = self.target or TARGET
        known = [target] if target in there and target not in encoding.numbers else []
        pieces = file.pieces(encoding.numbers, [*encoding.texts, *known])
        return encoding.width, (
            (encoding.encode(piece), self._differs(piece.texts[target]) if known else None) for piece in pieces
        )

    def _columns(self, file: TableFile) -> tuple[str | None, list[str]]:
        """The target, and the columns that are looked at."""
        there = file.columns()
        target = self.target or (TARGET if file.kind == ".npz" and TARGET in there else None)
        for field, names in (
            ("target", [target] if target else []),
            ("categorical", self.categorical),
            ("leave_out", self.leave_out),
        ):
            for name in names:
                if name not in there:
                    shown = ", ".join(there[:12])
                    raise ConfigError(
                        f"there is no column '{name}' (dataset.{field}) in {file.path}{nearest(name, there)}; it has "
                        f"{shown}{', …' if len(there) > 12 else ''}"
                    )
        features = [name for name in there if name != target and name not in self.leave_out]
        if not features:
            raise ConfigError(f"{file.path} has no column to learn from")
        return target, features

    def _anomalous(self, rows: Piece, target: str | None) -> NDArray[np.bool_]:
        if target is None:
            return np.zeros(rows.count, bool)
        anomalous = self._differs(rows.texts[target])
        if anomalous.all():
            found = ", ".join(repr(str(value)) for value in np.unique(rows.texts[target])[:8])
            raise ConfigError(
                f"no row is normal: column '{target}' has {found or 'no row'}, and never {_plain(self.normal)!r}; set "
                f"dataset.normal"
            )
        return anomalous

    def _differs(self, targets: NDArray[np.str_]) -> NDArray[np.bool_]:
        known, inverse = np.unique(targets, return_inverse=True)
        return np.asarray([_plain(str(value)) != _plain(self.normal) for value in known], dtype=bool)[inverse]

    def _split(self, anomalous: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows to train on, and rows held out, each in the order of the file."""
        normal = np.flatnonzero(~anomalous)
        # RandomState and not default_rng: its stream is the same in every version of numpy (NEP 19).
        shuffled = np.random.RandomState(self.split_seed).permutation(normal)
        count = int(len(normal) * self.train)
        if count < 2 or count == len(normal):
            raise ConfigError(f"has {len(normal)} normal rows, too few to train on a share of {self.train:g} of them")
        training = np.sort(shuffled[:count])
        return training, np.setdiff1d(np.arange(len(anomalous)), training, assume_unique=True)


def _plain(value: str | int | bool) -> str:
    """A target as text: true is 1, false is 0, 1.0 is 1, and capitals do not count."""
    if isinstance(value, bool):
        return str(int(value))
    text = str(value).strip().casefold()
    text = {"true": "1", "false": "0"}.get(text, text)
    return text.removesuffix(".0")


def _joined(pieces) -> Piece:
    """All rows in one piece."""
    parts = list(pieces)
    if not parts:
        return Piece(0)
    return Piece(
        sum(part.count for part in parts),
        {name: np.concatenate([part.numbers[name] for part in parts]) for name in parts[0].numbers},
        {name: np.concatenate([part.texts[name] for part in parts]) for name in parts[0].texts},
    )
