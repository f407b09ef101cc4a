"""What is fitted on the training rows of a table, and makes points of any rows with the same columns."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gandist import ConfigError
from gandist_datasets.table_reading import Piece

Points = NDArray[np.float32]


@dataclass(frozen=True)
class Number:
    """A column of numbers: (x - mean) / scale, 0 where x is missing; if any was missing in training, a second
    coordinate is 1 there."""

    name: str
    mean: float
    scale: float
    marked: bool

    @property
    def width(self) -> int:
        """Coordinates that it takes."""
        return 1 + self.marked

    def encode(self, piece: Piece, out: Points) -> None:
        """Fills (n, width)."""
        values = piece.numbers[self.name]
        missing = np.isnan(values)
        # Far outside of float32's range, or infinite, a value is as strange as it can be, and stays a number.
        scaled = np.clip((values - self.mean) / self.scale, -FARTHEST, FARTHEST)
        out[:, 0] = np.where(missing, 0.0, scaled)
        if self.marked:
            out[:, 1] = missing


@dataclass(frozen=True)
class Category:
    """A column of categories: 1 at the place of its value, 0 elsewhere; all 0 for a value that training never saw."""

    name: str
    values: tuple[str, ...]

    @property
    def width(self) -> int:
        """Coordinates that it takes."""
        return len(self.values)

    def encode(self, piece: Piece, out: Points) -> None:
        """Fills (n, width)."""
        known, inverse = np.unique(piece.texts[self.name], return_inverse=True)
        place = {value: number for number, value in enumerate(self.values)}
        table = np.zeros((len(known), self.width), np.float32)
        for row, value in enumerate(known):
            if str(value) in place:
                table[row, place[str(value)]] = 1.0
        out[:] = table[inverse]


FARTHEST = 1e6
"""Standard deviations from the mean at which a value is cut."""


@dataclass(frozen=True)
class Encoding:
    """The columns in their order. `json` is what a run keeps of it."""

    columns: tuple[Number | Category, ...]

    @property
    def width(self) -> int:
        """Coordinates of a point."""
        return sum(column.width for column in self.columns)

    @property
    def numbers(self) -> list[str]:
        """Names of the columns of numbers."""
        return [column.name for column in self.columns if isinstance(column, Number)]

    @property
    def texts(self) -> list[str]:
        """Names of the columns of categories."""
        return [column.name for column in self.columns if isinstance(column, Category)]

    def encode(self, piece: Piece) -> Points:
        """Points float32 (n, width)."""
        points, start = np.empty((piece.count, self.width), np.float32), 0
        for column in self.columns:
            column.encode(piece, points[:, start : start + column.width])
            start += column.width
        return points

    def json(self) -> str:
        """As text."""
        return json.dumps([asdict(column) for column in self.columns])

    @classmethod
    def read(cls, text: str) -> Self:
        """What `json` wrote. Raises ConfigError for anything else."""
        try:
            return cls(tuple(_column(entry) for entry in json.loads(text)))
        except (TypeError, ValueError, KeyError, AttributeError):
            raise ConfigError("this run has no columns of a table; it was trained on other data") from None


def _column(entry: dict[str, Any]) -> Number | Category:
    if "values" in entry:
        return Category(str(entry["name"]), tuple(map(str, entry["values"])))
    return Number(str(entry["name"]), float(entry["mean"]), float(entry["scale"]), bool(entry["marked"]))


def fit(order: Iterable[str], rows: Piece, chosen: NDArray[np.int64], most: int) -> Encoding:
    """The encoding of the columns in `order`, by the rows `chosen` alone.

    A column of numbers gets mean 0 and standard deviation 1, one that never changes keeps its size. A column of
    categories has its `most` commonest ones. Raises ConfigError for a column without any number.
    """
    columns: list[Number | Category] = []
    for name in order:
        if name in rows.texts:
            values, counts = np.unique(rows.texts[name][chosen], return_counts=True)
            common = np.sort(values[np.argsort(-counts, kind="stable")[:most]])
            columns.append(Category(name, tuple(map(str, common))))
            continue
        values = rows.numbers[name][chosen]
        there = values[np.isfinite(values)]
        if not len(there):
            raise ConfigError(f"column '{name}' has no number in the training rows; list it under dataset.leave_out")
        scale = float(there.std())
        missing = bool(np.isnan(values).any())
        columns.append(Number(name, float(there.mean()), scale if scale > 1e-12 * abs(there).max() else 1.0, missing))
    return Encoding(tuple(columns))
