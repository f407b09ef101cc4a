"""Tables in files, read in pieces: CSV, Parquet, and .npz with `X` and `y`."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gandist import ConfigError

ENDINGS = (".csv", ".parquet", ".npz")
BLOCK = 1 << 22
"""Bytes of a CSV file that are parsed at once. pyarrow reads 32 such blocks ahead."""
ROWS = 1 << 16
"""Rows of another file that are taken at once."""
FEATURES, TARGET = "X", "y"
"""Arrays of an .npz: (N, D) and (N,)."""
DENSEST, HARMLESS = 100, 2**30
"""An .npz may unpack to this many times its size, or to this many bytes."""
EXAMPLES = 3


@dataclass(frozen=True)
class Piece:
    """Some rows. numbers: column → float64 (n,), NaN where a value is missing. texts: column → str objects of numpy
    "U" dtype (n,), "" where one is missing."""

    count: int
    numbers: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    texts: dict[str, NDArray[np.str_]] = field(default_factory=dict)


@dataclass(frozen=True)
class TableFile:
    """A table whose columns are known and whose rows are not read yet. Raises ConfigError for what cannot be read."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_file():
            near = nearest(self.path.name, _tables(self.path.parent))
            raise ConfigError(f"there is no table {self.path}{near}; give a file that ends in {', '.join(ENDINGS)}")
        if self.path.suffix.lower() not in ENDINGS:
            raise ConfigError(f"{self.path} is no table that can be read; convert it to {', '.join(ENDINGS)}")

    @property
    def kind(self) -> str:
        """Its ending, in small letters."""
        return self.path.suffix.lower()

    def columns(self) -> list[str]:
        """The names of its columns; those of an .npz are "x0", "x1", …, and "y" if it has one."""
        return self._guarded(lambda: _ENDINGS[self.kind][0](self.path))

    def unpacked(self, columns: int) -> int:
        """About how many bytes so many of its columns take as numbers; of a CSV, whose rows only reading tells, as many
        as they have of the file."""
        return self._guarded(lambda: _ENDINGS[self.kind][2](self.path, columns))

    def pieces(self, numbers: Sequence[str], texts: Sequence[str]) -> Iterator[Piece]:
        """These columns of all rows, piece by piece. Raises ConfigError where a column of numbers holds anything else.

        What a person may write for a missing value ("", NA, null, nan, …) is one.
        """
        made = _ENDINGS[self.kind][1](self.path, list(numbers), list(texts))
        while (piece := self._guarded(lambda: next(made, None))) is not None:
            yield piece

    def _guarded(self, work: Any) -> Any:
        import pyarrow as pa

        try:
            return work()
        except ConfigError as error:
            raise ConfigError(f"{self.path}: {error}") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, pa.ArrowException) as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(f"{self.path}: cannot be read as {self.kind[1:]}: {reason}") from None


def nearest(name: str, known: Iterable[str]) -> str:
    """`"; did you mean amount?"`, or nothing where no known name comes near."""
    near = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _tables(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.suffix.lower() in ENDINGS] if folder.is_dir() else []


def _csv_columns(path: Path) -> list[str]:
    import pyarrow.csv as csv

    with csv.open_csv(path, read_options=csv.ReadOptions(block_size=BLOCK)) as reader:
        return list(reader.schema.names)


def _csv(path: Path, numbers: list[str], texts: list[str]) -> Iterator[Piece]:
    import pyarrow as pa
    import pyarrow.csv as csv

    # As text: a column whose type was guessed from its first megabytes fails at the first row that is of another.
    convert = csv.ConvertOptions(
        include_columns=[*numbers, *texts],
        column_types=dict.fromkeys([*numbers, *texts], pa.string()),
        strings_can_be_null=True,
        null_values=["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "#N/A"],
    )
    with csv.open_csv(path, read_options=csv.ReadOptions(block_size=BLOCK), convert_options=convert) as reader:
        for batch in reader:
            yield _piece(batch, numbers, texts)


def _parquet_columns(path: Path) -> list[str]:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        return list(file.schema_arrow.names)


def _parquet(path: Path, numbers: list[str], texts: list[str]) -> Iterator[Piece]:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        # Asked for all groups of rows at once, pyarrow keeps what it has decoded until the end.
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(ROWS, row_groups=[group], columns=[*numbers, *texts]):
                yield _piece(batch, numbers, texts)


def _piece(batch: Any, numbers: list[str], texts: list[str]) -> Piece:
    by_name = {name: batch.column(name) for name in batch.schema.names}
    return Piece(
        batch.num_rows,
        {name: _numbers(by_name[name], name) for name in numbers},
        {name: _texts(by_name[name], name) for name in texts},
    )


def _numbers(column: Any, name: str) -> NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as compute

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    try:
        values = column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        shown = ", ".join(repr(str(v)) for v in _not_numbers(column))
        raise ConfigError(
            f"column '{name}' holds {shown or column.type}, which is no number: list it under dataset.categorical or "
            f"dataset.leave_out"
        ) from None
    return compute.fill_null(values, np.nan).to_numpy(zero_copy_only=False)


def _not_numbers(column: Any) -> list[Any]:
    found: dict[Any, None] = {}
    for value in itertools.islice(column.to_pylist(), ROWS):
        try:
            float(value or 0)
        except (TypeError, ValueError):
            found[value] = None
        if len(found) == EXAMPLES:
            break
    return list(found)


def _texts(column: Any, name: str) -> NDArray[np.str_]:
    import pyarrow as pa
    import pyarrow.compute as compute

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_floating(column.type):
        floats = column.to_numpy(zero_copy_only=False)
        # 1.0 and 1 are one category: which of them it is depends on whether another row lacks a value.
        whole = np.floor(floats)
        if np.array_equal(floats, whole, equal_nan=True):
            column = pa.array(whole, mask=np.isnan(whole)).cast(pa.int64(), safe=False)
    try:
        values = compute.fill_null(column.cast(pa.string()), "")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ConfigError(f"column '{name}' holds {column.type}, which is no category: leave it out") from None
    coded = values.dictionary_encode()
    known = np.asarray(coded.dictionary.to_pylist(), dtype=np.str_)
    return known[coded.indices.to_numpy(zero_copy_only=False)] if len(values) else np.empty(0, np.str_)


def _npz_columns(path: Path) -> list[str]:
    with np.load(path, allow_pickle=False) as arrays:
        if FEATURES not in arrays.files:
            raise ConfigError(f"has no array {FEATURES}, only {', '.join(arrays.files) or 'nothing'}")
    with zipfile.ZipFile(path) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if sum(sizes.values()) > max(HARMLESS, DENSEST * path.stat().st_size):
            raise ConfigError("unpacks to far more than its size, like a decompression bomb; save it uncompressed")
        with archive.open(f"{FEATURES}.npy") as file:
            shape = _npy_header(file)[0]
    if len(shape) != 2:
        raise ConfigError(f"{FEATURES} should have rows and columns, is {shape}")
    return [*(f"x{number}" for number in range(shape[1])), *([TARGET] if f"{TARGET}.npy" in sizes else [])]


def _npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it lies column by column, and type of the array whose values follow."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _npz(path: Path, numbers: list[str], texts: list[str]) -> Iterator[Piece]:
    import pyarrow as pa

    columns, target = _npz_columns(path), None
    if TARGET in columns:
        with np.load(path, allow_pickle=False) as arrays:
            target = arrays[TARGET]
    place, start = {name: number for number, name in enumerate(columns)}, 0
    for features, total in _npz_features(path):
        if target is not None and target.shape != (total,):
            raise ConfigError(f"{TARGET} has shape {target.shape}, {FEATURES} has {total} rows")
        own = {TARGET: target[start : start + len(features)]} if target is not None else {}
        start += len(features)
        found = {name: own[name] if name in own else features[:, place[name]] for name in {*numbers, *texts}}
        yield Piece(
            len(features),
            {name: found[name].astype(np.float64) for name in numbers},
            {name: _texts(pa.array(found[name]), name) for name in texts},
        )


def _npz_features(path: Path) -> Iterator[tuple[NDArray[Any], int]]:
    """`ROWS` rows of the features at a time, and how many there are in all."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{FEATURES}.npy") as file:
        (total, width), by_columns, kind = _npy_header(file)
        if kind.kind not in "fiub":
            raise ConfigError(f"{FEATURES} holds {kind}, should hold numbers")
        for start in range(0, 0 if by_columns else total, ROWS):
            count = min(ROWS, total - start)
            yield np.frombuffer(file.read(count * width * kind.itemsize), kind).reshape(count, width), total
    if by_columns:
        # A row of it is spread over the whole file.
        with np.load(path, allow_pickle=False) as arrays:
            features = arrays[FEATURES]
        for start in range(0, total, ROWS):
            yield features[start : start + ROWS], total


def _csv_bytes(path: Path, columns: int) -> int:
    return path.stat().st_size * columns // len(_csv_columns(path))


def _parquet_bytes(path: Path, columns: int) -> int:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        return 8 * columns * file.metadata.num_rows


def _npz_bytes(path: Path, columns: int) -> int:
    with zipfile.ZipFile(path) as archive, archive.open(f"{FEATURES}.npy") as file:
        return 8 * columns * _npy_header(file)[0][0]


_ENDINGS: dict[str, tuple[Any, Any, Any]] = {
    ".csv": (_csv_columns, _csv, _csv_bytes),
    ".parquet": (_parquet_columns, _parquet, _parquet_bytes),
    ".npz": (_npz_columns, _npz, _npz_bytes),
}
"""How each kind is read: its columns, its rows, and about how much memory they take."""
