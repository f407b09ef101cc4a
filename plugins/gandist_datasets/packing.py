"""Writes shards: tars as WebDataset reads them, and the index that finds each sample's bytes in them."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gandist import ConfigError, Place
from gandist_datasets.encoded import opened
from gandist_datasets.file_index import FileIndex
from gandist_datasets.folders import existing_folder
from gandist_datasets.shard_index import INDEX, MOST, PLAIN, Shard, ShardIndex
from gandist_datasets.tars import BLOCK, SUFFIXES, Tar, members

log = logging.getLogger("gandist.datasets")

SHARD = 256 * 10**6
"""Bytes of a shard, unless another size is asked for."""
Told = Callable[[int, int], None]
"""told(done, all) is called after every image."""


@dataclass(frozen=True)
class Sample:
    """An encoded image. size: width and height."""

    content: bytes
    suffix: str
    size: tuple[int, int]


@dataclass
class _Index:
    """An index as it grows."""

    shards: list[Shard] = field(default_factory=list)
    rows: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    sides: list[tuple[int, int]] = field(default_factory=list)

    def add(self, start: int, sample: Sample, label: int) -> None:
        """A sample of the shard that is added next."""
        self.rows.append((len(self.shards), start, len(sample.content), zlib.crc32(sample.content), label))
        self.sides.append(sample.size)

    def done(self, classes: int, class_names: tuple[str, ...]) -> ShardIndex:
        shard, start, length, crc, label = np.array(self.rows, np.int64).reshape(-1, 5).T
        sides = sorted(self.sides, key=lambda size: size[0] * size[1])
        return ShardIndex(
            tuple(self.shards),
            shard.astype(np.uint32),
            np.ascontiguousarray(start),
            np.ascontiguousarray(length),
            crc.astype(np.uint32),
            np.ascontiguousarray(label) if classes else None,
            classes,
            class_names,
            {"smallest": list(sides[0]), "largest": list(sides[-1])} if sides else {},
        )


class _Broken:
    """Images that cannot be read: named and left out, and too many are an error."""

    def __init__(self, shown: str, limit: int):
        self.named: list[str] = []
        self._shown, self._limit = shown, limit

    def add(self, name: str, error: Exception) -> None:
        reason = "cannot identify image file" if "BytesIO" in str(error) else str(error) or type(error).__name__
        self.named.append(f"{name} ({reason})")
        log.warning("%s: leaving out %s", self._shown, self.named[-1])
        if len(self.named) > self._limit:
            listed = "\n  ".join(self.named[:10])
            raise ConfigError(
                f"{self._shown}: more than {self._limit} images cannot be read:\n  {listed}\n"
                "  remove them, or raise --broken-limit"
            )


class _Writer:
    """Shards that grow one after the other. place: where the whole ones go."""

    def __init__(self, place: Place, shard_size: int, growing: _Index):
        self._place, self._most, self._growing = place, shard_size, growing
        name = Path(str(place).rstrip("/")).name
        self._stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "shard"
        self._tar: Tar | None = None

    def add(self, sample: Sample, label: int | None, scratch: Path) -> None:
        """Appends a sample, to a new shard where the last one would become too large."""
        if self._tar is not None and self._tar.size + len(sample.content) + 4 * BLOCK > self._most:
            self.finish()
        if self._tar is None:
            self._tar = Tar(scratch / f"{self._stem}-{len(self._growing.shards):06d}.tar")
        key = f"{len(self._growing.rows):08d}"
        start = self._tar.add(f"{key}.{sample.suffix}", sample.content)
        if label is not None:
            self._tar.add(f"{key}.cls", str(label).encode())
        self._growing.add(start, sample, 0 if label is None else label)

    def finish(self) -> None:
        """Ends the shard in hand, and moves it to its place."""
        if self._tar is not None:
            shard, path, self._tar = self._tar.close(), self._tar.path, None
            self._place.target.put(path, path.name)
            self._growing.shards.append(shard)


def pack_folder(
    folder: str, out: str, *, shard_size: int = SHARD, broken_limit: int = 10, told: Told | None = None
) -> dict[str, Any]:
    """Packs a folder of images, as `image-folder` reads it, into shards in `out`, a folder or the URL of a bucket.

    The images stay byte for byte what they were. Returns what was written. Raises ConfigError for an `out` in which
    something lies, and for more than `broken_limit` images that cannot be read; nothing is left behind then.
    """
    place, to = _place(folder, "FOLDER"), _place(out, "OUT")
    if there := to.target.names():
        raise ConfigError(
            f"OUT: {to} is not empty: it holds {', '.join(there[:3])}{', …' if len(there) > 3 else ''}; give a new "
            f"folder{'' if INDEX in there else ', or delete it if a pack was killed there'}"
        )
    index, root = _files(place)
    names = [index.files[number] for number in range(len(index.files))]
    broken, growing = _Broken(str(place), broken_limit), _Index()
    writer = _Writer(to, shard_size, growing)
    try:
        with tempfile.TemporaryDirectory(prefix="gandist-pack-", dir=to.target.scratch()) as scratch:
            reads = ((root / name).read_bytes for name in names)
            for number, sample in enumerate(_verified(reads)):
                if told is not None:
                    told(number + 1, len(names))
                if isinstance(sample, Exception):
                    broken.add(names[number], sample)
                else:
                    writer.add(sample, None if index.labels is None else int(index.labels[number]), Path(scratch))
            if len(growing.rows) < 2:
                raise ConfigError(f"{place}: only {len(growing.rows)} images can be read; at least 2 are needed")
            writer.finish()
            done = growing.done(len(index.class_names), index.class_names)
            _put_index(done, to, Path(scratch))
    except BaseException:
        to.target.remove([shard.name for shard in growing.shards])
        raise
    return _told(done, str(to), broken)


def index_tars(folder: str, *, broken_limit: int = 0, told: Told | None = None) -> dict[str, Any]:
    """Writes the index of tars that are there: a sample is a run of members with one name up to its first dot.

    folder: or the URL of a bucket, from which every tar is fetched once. Raises ConfigError for tars that no honest
    tool writes, for compressed ones, and where some samples have a label (.cls, a number) and others have none.
    """
    place = _place(folder, "FOLDER")
    if not place.is_url:
        existing_folder(folder)
    there = place.target.names()
    tars = [name for name in there if name.endswith(".tar") and PLAIN.fullmatch(name)]
    if INDEX in there:
        raise ConfigError(f"{place} has an {INDEX} already; delete it to write another")
    if not tars:
        packed = next((name for name in there if ".tar." in name or name.endswith(".tgz")), None)
        hint = f"{packed} is compressed, and bytes in it cannot be found; unpack it to .tar" if packed else "nothing"
        raise ConfigError(f"{place} holds no .tar: {hint}")
    broken, growing, labelled = _Broken(str(place), broken_limit), _Index(), 0
    with tempfile.TemporaryDirectory(prefix="gandist-pack-") as scratch:
        for number, name in enumerate(tars):
            path = place.fetch_to(name, Path(scratch)) if place.is_url else Path(folder, name)
            labelled += _add_tar(path, f"{place}/{name}", growing, broken)
            if place.is_url:
                path.unlink()
            if told is not None:
                told(number + 1, len(tars))
        if labelled not in (0, len(growing.rows)):
            counts = f"{labelled:,} of {len(growing.rows):,} samples"
            raise ConfigError(f"{place}: {counts} have a label (.cls); give all one, or none")
        if len(growing.rows) < 2:
            raise ConfigError(f"{place}: the tars hold {len(growing.rows)} images; at least 2 are needed")
        classes = max(label for *_, label in growing.rows) + 1
        done = growing.done(classes, ())
        _put_index(done, place, Path(scratch))
    return _told(done, str(place), broken)


def _add_tar(path: Path, shown: str, growing: _Index, broken: _Broken) -> int:
    """Adds the samples of a tar to the index, and gives how many have a label."""
    found, labelled = list(members(path, shown)), 0
    reads = (partial(_bytes, path, member.start, member.length) for member in found)
    for member, sample in zip(found, _verified(reads), strict=True):
        if isinstance(sample, Exception):
            broken.add(f"{member.key} in {path.name}", sample)
            continue
        growing.add(member.start, sample, -1 if member.label is None else member.label)
        labelled += member.label is not None
    with path.open("rb") as file:
        sha = hashlib.file_digest(file, "sha256").hexdigest()
    growing.shards.append(Shard(path.name, path.stat().st_size, sha))
    return labelled


def _bytes(path: Path, start: int, length: int) -> bytes:
    if length > MOST:
        raise ValueError(f"larger than {MOST:,} bytes")
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _verified(reads: Iterable[Callable[[], bytes]]) -> Iterator[Sample | Exception]:
    """The images in their order, decoded once on all cores to know that they can be."""
    cores = os.cpu_count() or 1
    waiting: deque[Future[Sample | Exception]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        for read in reads:
            waiting.append(pool.submit(_verify, read))
            if len(waiting) > 4 * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _verify(read: Callable[[], bytes]) -> Sample | Exception:
    # Pillow raises nearly anything for one broken format or another.
    try:
        content = read()
        if len(content) > MOST:
            raise ValueError(f"larger than {MOST:,} bytes")
        with opened(content) as picture:
            picture.load()
            return Sample(content, SUFFIXES[str(picture.format)], picture.size)
    except Exception as error:
        return error


def _place(text: str, field: str) -> Place:
    try:
        return Place(Place.root(text), field)
    except ValueError as error:
        raise ConfigError(f"{field}: the URL {error}") from None


def _files(place: Place) -> tuple[FileIndex, Path]:
    """The images of a folder, and where they lie on this machine."""
    try:
        if place.is_url:
            place.fetch()
            index = FileIndex.listed(place.folder, place.sizes(), str(place))
        else:
            index = FileIndex(existing_folder(str(place)))
    except ConfigError as error:
        raise ConfigError(str(error).replace("dataset.root: ", "FOLDER: ", 1)) from None
    return index, Path(index.files.folder)


def _put_index(index: ShardIndex, place: Place, scratch: Path) -> None:
    path = scratch / INDEX
    path.write_bytes(index.to_bytes())
    place.target.put(path, INDEX)


def _told(index: ShardIndex, shown: str, broken: _Broken) -> dict[str, Any]:
    return {
        "out": shown,
        "samples": len(index),
        "classes": index.classes,
        "shards": len(index.shards),
        "bytes": sum(shard.size for shard in index.shards),
        "left_out": broken.named,
    }
