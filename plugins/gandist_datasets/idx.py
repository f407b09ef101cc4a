"""IDX, the format of MNIST and its kin: a header of sizes and the plain bytes, often gzipped."""

from __future__ import annotations

import math
import zlib
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from gandist import ConfigError, Dataset, Place, Source
from gandist_datasets.arrays import Arrays
from gandist_datasets.folders import Root, existing_folder
from gandist_datasets.images import pad
from gandist_datasets.labelling import Labelling
from gandist_datasets.unpacking import Unpacked

UNSIGNED_BYTES = 0x08
"""The type code of the format that this module reads; the others are for wider numbers."""
PREFIX = {"train": "train", "test": "t10k"}


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, gzipped or not. Raises ConfigError that names what is wrong."""
    try:
        with path.open("rb") as file:
            gzipped = file.read(2) == b"\x1f\x8b"
        if gzipped:
            with Unpacked(path) as file:
                content = file.read()
        else:
            content = path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"dataset.root: cannot read {path}: {error}; delete it and fetch it again") from None
    if len(content) < 4 or content[:2] != b"\0\0":
        raise ConfigError(
            f"dataset.root: {path} is no IDX file: it begins with {content[:4].hex() or 'nothing'}, not 0000"
        )
    if content[2] != UNSIGNED_BYTES:
        raise ConfigError(
            f"dataset.root: {path} holds IDX type 0x{content[2]:02x}; only unsigned bytes (0x08) are images"
        )
    start = 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist()) if len(content) >= start else ()
    if len(shape) != content[3] or math.prod(shape) != len(content) - start:
        sizes = "×".join(map(str, shape)) or "unknown size"
        raise ConfigError(
            f"dataset.root: {path} is damaged: its header says {sizes}, but {len(content) - start:,} bytes follow; "
            "delete it and fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def find_idx(root: str, file: str) -> Path:
    """The path of `file`, or of `file`.gz, in `root`. Raises ConfigError that names both if it is missing."""
    place = Place(root)
    for name in (file, f"{file}.gz"):
        if (path := place.file(name)) is not None:
            return path
    if place.is_url:
        raise ConfigError(f"dataset.root: there is no {file} (or {file}.gz) at {place}; is the URL right?")
    folder = existing_folder(root)
    others = sorted(path.name for path in folder.iterdir() if "ubyte" in path.name or "idx" in path.name)
    there = f"it has {', '.join(others[:6])}" if others else "it has no IDX files"
    raise ConfigError(f"dataset.root: there is no {file} (or {file}.gz) in {folder}; {there}")


class IdxImages(Labelling):
    """What all data sets of IDX files have in common."""

    split: Literal["train", "test"] = "train"
    """Which of the two parts; their files are called train-… and t10k-…."""
    size: int | None = Field(None, ge=8, le=1024)
    """Height and width of the images; null leaves them as they are."""
    fit: Literal["resize", "pad"] = "resize"
    """How they get that size: scaled bicubically, or put in the middle of black."""

    def labels_file(self) -> str | None:
        """Name of the file with the labels, without .gz; None if there are none."""
        return f"{PREFIX[self.split]}-labels-idx1-ubyte"

    def images_file(self) -> str:
        """Name of the file with the images, without .gz."""
        return f"{PREFIX[self.split]}-images-idx3-ubyte"

    @abstractmethod
    def find(self, file: str) -> Path:
        """The path of `file`, gzipped or not. Raises ConfigError that names it if it is missing."""

    def class_names(self) -> tuple[str, ...]:
        """What the labels mean, if that is known."""
        return ()

    def test_part(self) -> Dataset | None:
        """The other files, if this is the part for training."""
        return self.model_copy(update={"split": "test", "labelled": None}) if self.split == "train" else None

    def open(self) -> Source:
        """Images (1, H, W), or (C, H, W) from a file of four dimensions, and labels from 0."""
        path = self.find(self.images_file())
        images = _channels_first(read_idx(path), path)
        if self.size is not None and self.fit == "pad" and self.size < max(images.shape[2:]):
            wide = "×".join(map(str, images.shape[2:]))
            raise ConfigError(f"dataset.size: {self.size} is smaller than the {wide} images; set dataset.fit to resize")
        if self.size is not None and self.fit == "pad":
            images = pad(images, self.size)
        labels = self._labels(len(images))
        classes = 0 if labels is None else int(labels.max()) + 1
        names = self.class_names()
        if names and classes > len(names):
            raise ConfigError(
                f"dataset.root: {path.parent} has label {classes - 1}; {self.name} has {len(names)} classes only"
            )
        test = self.test_part()
        source = Arrays(images, labels, len(names) or classes, names, self.size, test)
        return self.as_seen(source, source.labels, split=test is None)

    def _labels(self, images: int) -> NDArray[np.uint8] | None:
        file = self.labels_file()
        if file is None:
            return None
        path = self.find(file)
        labels = read_idx(path)
        if labels.shape != (images,):
            found = "×".join(map(str, labels.shape))
            raise ConfigError(
                f"dataset.root: {path} holds {found} labels for {images} images; the two must belong together"
            )
        return labels


def _channels_first(array: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """(N, H, W), (N, C, H, W) or (N, H, W, C) as (N, C, H, W)."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        sizes = "×".join(map(str, array.shape))
        raise ConfigError(f"dataset.root: {path} holds {sizes} bytes, which are no images (count × height × width)")
    if len(array) < 2:
        raise ConfigError(f"dataset.root: {path} holds {len(array)} images; at least 2 are needed")
    return array


class Idx(IdxImages):
    """Images, and labels if there are any, in IDX files of your own; called as MNIST's unless you name them."""

    name: ClassVar[str] = "idx"

    root: Root
    """Folder that holds the files, gzipped or not, or its URL."""
    images: str | None = None
    """Name of the file with the images; null goes by `split`."""
    labels: str | None = None
    """Name of the file with the labels; null goes by `split`, or is none if `images` is named."""

    @field_validator("images", "labels")
    @classmethod
    def _in_the_folder(cls, file: str | None) -> str | None:
        if file is not None and (Path(file).is_absolute() or ".." in Path(file).parts):
            raise ValueError(f"{file!r} leads out of root; give the name of a file in it")
        return file

    @model_validator(mode="after")
    def _labels_with_images(self) -> Self:
        if self.labels and not self.images:
            raise ValueError("labels without images; name the file with the images too")
        return self

    def find(self, file: str) -> Path:
        """The path of `file` in `root`, gzipped or not."""
        return find_idx(self.root, file)

    def images_file(self) -> str:
        """The name given, or MNIST's."""
        return self.images or super().images_file()

    def labels_file(self) -> str | None:
        """The name given, or MNIST's if no images are named."""
        return self.labels if self.images else super().labels_file()

    def test_part(self) -> Dataset | None:
        """None if the files are named: then nothing is known of others."""
        return None if self.images else super().test_part()
