"""CIFAR-10 in its binary version, which is read without unpickling anything (Krizhevsky 2009)."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from gandist import ConfigError, Place, Source, cache_folder
from gandist_datasets.arrays import Arrays
from gandist_datasets.files import Remote, Server, download
from gandist_datasets.folders import Root, existing_folder
from gandist_datasets.labelling import Labelling
from gandist_datasets.unpacking import Unpacked

ARCHIVE = Remote("cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd")
SERVERS = ("https://www.cs.toronto.edu/~kriz/",)
FOLDER = "cifar-10-batches-bin"
BATCHES = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORD = 1 + 3 * 32 * 32
"""Bytes of an image: its label, then the red, green and blue planes by rows."""
MOST = 70_000 * RECORD
"""Bytes that the archive may hold: its 60,000 images, and room for what stands beside them."""


class Cifar10(Labelling):
    """CIFAR-10: 50,000 and 10,000 photos of ten things, RGB 32×32 (Krizhevsky 2009)."""

    name: ClassVar[str] = "cifar10"

    root: Root | None = None
    """Folder or URL of cifar-10-binary.tar.gz or what it holds; null downloads to datasets/cifar10 in the cache."""
    url: Server | None = None
    """Another server to download from: what stands before the file's name."""
    split: Literal["train", "test"] = "train"
    """The 50,000 or the 10,000."""
    size: int | None = Field(None, ge=8, le=256)
    """Height and width, scaled bicubically; null leaves 32."""

    def open(self) -> Source:
        """Images (3, 32, 32) or (3, size, size), and ten classes."""
        place = self._place()
        batches = [_records(content, place) for content in _read(place, BATCHES[self.split])]
        records = np.concatenate(batches).reshape(-1, RECORD)
        labels, images = records[:, 0], records[:, 1:].reshape(-1, 3, 32, 32)
        if labels.max() >= len(NAMES):
            raise ConfigError(f"dataset.root: {place} is damaged: it has label {labels.max()} of 10; fetch it again")
        test = self.model_copy(update={"split": "test", "labelled": None}) if self.split == "train" else None
        source = Arrays(images, labels, len(NAMES), NAMES, self.size, test)
        return self.as_seen(source, source.labels, split=test is None)

    def _place(self) -> Path:
        """The archive, or the folder with its unpacked files."""
        if self.root is None:
            servers = (self.url,) if self.url else SERVERS
            return download(ARCHIVE, cache_folder() / "datasets" / self.name, servers)
        place = Place(self.root)
        if place.is_url and not place.is_archive and (archive := place.file(ARCHIVE.name)) is not None:
            return archive
        root = place.fetch() if place.is_url else existing_folder(self.root)
        for folder in (root / FOLDER, root):
            if all((folder / file).is_file() for file in BATCHES[self.split]):
                return folder
        if (root / ARCHIVE.name).is_file():
            return root / ARCHIVE.name
        hint = "; the Python version is there, but it is pickled" if (root / "cifar-10-batches-py").is_dir() else ""
        raise ConfigError(
            f"dataset.root: {root} holds neither {ARCHIVE.name} nor {FOLDER}/{BATCHES[self.split][0]}{hint}; "
            f"get the binary version from {SERVERS[0]}{ARCHIVE.name}, or leave dataset.root out to download it"
        )


def _read(place: Path, files: tuple[str, ...]) -> list[bytes]:
    """The content of the files of an archive or a folder. Nothing is unpacked to disk."""
    try:
        if place.is_dir():
            return [(place / file).read_bytes() for file in files]
        found: dict[str, bytes] = {}
        with Unpacked(place, MOST) as content, tarfile.open(fileobj=content, mode="r|") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None and Path(member.name).name in files:
                    found[Path(member.name).name] = stream.read()
        return [found[file] for file in files]
    except (OSError, EOFError, KeyError, zlib.error, tarfile.TarError) as error:
        raise ConfigError(f"dataset.root: cannot read {place}: {error}; delete it and fetch it again") from None


def _records(content: bytes, place: Path) -> np.ndarray:
    if not content or len(content) % RECORD:
        raise ConfigError(
            f"dataset.root: {place} is damaged: a file of {len(content):,} bytes is no multiple of {RECORD}"
        )
    return np.frombuffer(content, np.uint8)
