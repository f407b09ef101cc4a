"""The index of a folder of shards: which bytes of which tar are which sample, and what every tar must be.

It is an .npz of plain arrays that stands beside the tars, read without unpickling anything:

    about    uint8 (…,), UTF-8 of a JSON mapping: format, shards [[name, bytes, SHA-256], …], class_names, classes,
             sizes {"smallest": [width, height], "largest": […]}
    shard    uint32 (N,), number of the tar of each sample
    start    int64 (N,), first byte of its image in that tar
    length   int64 (N,), bytes of its image
    crc      uint32 (N,), CRC-32 of its image
    label    int64 (N,), or (0,) where there are none
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gandist import ConfigError

INDEX = "index.npz"
FORMAT = "gandist shards 1"
PLAIN = re.compile(r"[^./\\\0][^/\\\0]{0,250}")
"""Names of files that lie in the folder itself, and are not hidden."""
MOST = 2**28
"""Bytes of one encoded image."""
_ARRAYS = {"about": np.uint8, "shard": np.uint32, "start": np.int64, "length": np.int64, "crc": np.uint32}
_ARRAYS |= {"label": np.int64}
_UNREADABLE = (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error, RecursionError)


@dataclass(frozen=True)
class Shard:
    """A tar: its name in the folder, its bytes and its SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ShardIndex:
    """Samples in the order in which they were packed; the arrays are as long as there are samples.

    labels: int64 (N,), or None. sizes: [width, height] of the smallest and the largest image.
    """

    shards: tuple[Shard, ...]
    shard: NDArray[np.uint32]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    crc: NDArray[np.uint32]
    labels: NDArray[np.int64] | None
    classes: int
    class_names: tuple[str, ...]
    sizes: dict[str, list[int]]

    def __len__(self) -> int:
        return len(self.shard)

    @property
    def fingerprint(self) -> str:
        """Of all samples and labels; copies of the shards have the same."""
        digest = hashlib.sha256(repr([shard.sha256 for shard in self.shards]).encode())
        for array in (self.shard, self.start, self.length, *([] if self.labels is None else [self.labels])):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:32]

    def to_bytes(self) -> bytes:
        """The content of the file."""
        about = {
            "format": FORMAT,
            "shards": [[shard.name, shard.size, shard.sha256] for shard in self.shards],
            "classes": self.classes,
            "class_names": list(self.class_names),
            "sizes": self.sizes,
        }
        labels = np.empty(0, np.int64) if self.labels is None else self.labels
        text = np.frombuffer(json.dumps(about).encode(), np.uint8)
        arrays = {"shard": self.shard, "start": self.start, "length": self.length, "crc": self.crc, "label": labels}
        file = io.BytesIO()
        np.savez(file, about=text, **arrays)
        return file.getvalue()


def read_index(content: bytes, shown: str) -> ShardIndex:
    """The index in a file called `shown`. Raises ConfigError that says why it cannot be what `gandist pack` wrote."""
    try:
        arrays = _arrays(content)
        about = json.loads(arrays.pop("about").tobytes())
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise ValueError(f"it is not of the format {FORMAT!r}")
        return _checked(about, arrays)
    except _UNREADABLE as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise ConfigError(f"dataset.root: {shown} is no index of shards: {reason}; pack the data anew") from None


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # Nothing packed and nothing twice: what is read is no more than what came.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it holds compressed data, which gandist never writes")
        if sum(entry.file_size for entry in archive.infolist()) > len(content):
            raise ValueError("it says that it holds more than its size")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in _ARRAYS}
    for name, dtype in _ARRAYS.items():
        if arrays[name].dtype != dtype or arrays[name].ndim != 1:
            raise ValueError(f"{name} is {arrays[name].dtype} {arrays[name].shape}, should be {np.dtype(dtype)} (N,)")
    return arrays


def _checked(about: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> ShardIndex:
    shards = tuple(Shard(str(name), int(size), str(sha)) for name, size, sha in about["shards"])
    for shard in shards:
        if not PLAIN.fullmatch(shard.name):
            raise ValueError(f"the shard {shard.name!r} is no plain file name, and would lead out of the folder")
        if not re.fullmatch(r"[0-9a-f]{64}", shard.sha256) or shard.size < 0:
            raise ValueError(f"the shard {shard.name} has no SHA-256 and size")
    count, labels = len(arrays["shard"]), arrays["label"]
    if any(len(arrays[name]) != count for name in ("start", "length", "crc")) or len(labels) not in (0, count):
        raise ValueError("its arrays differ in length")
    if count < 2:
        raise ValueError(f"it lists {count} samples; at least 2 are needed")
    if int(arrays["shard"].max()) >= len(shards):
        raise ValueError(f"a sample lies in shard {int(arrays['shard'].max())} of {len(shards)}")
    ends = np.array([shard.size for shard in shards], np.int64)[arrays["shard"]]
    start, length = arrays["start"], arrays["length"]
    if start.min() < 0 or length.min() < 0 or length.max() > MOST or (start > ends - length).any():
        raise ValueError("a sample lies outside of its shard")
    classes, names = int(about["classes"]), tuple(str(name) for name in about["class_names"])
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"it has labels {labels.min()} to {labels.max()} of {classes} classes")
    if bool(len(labels)) != (classes > 0) or len(names) not in (0, classes):
        raise ValueError(f"it has {classes} classes, {len(names)} names of classes and {len(labels)} labels")
    sizes = {str(name): [int(side) for side in size] for name, size in dict(about["sizes"]).items()}
    return ShardIndex(
        shards, arrays["shard"], start, length, arrays["crc"], labels if classes else None, classes, names, sizes
    )
