"""A folder of the user's own images, decoded while training."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from gandist import ConfigError, Dataset, Facts, Source
from gandist_datasets.file_index import FileIndex
from gandist_datasets.folders import Root, existing_folder
from gandist_datasets.images import FORMATS, Pixels, to_array, to_eight_bits, to_square

log = logging.getLogger("gandist.datasets")

PROBED = 500
"""Files whose headers are looked at when the folder is opened; all, if there are no more than that."""


def decode(path: str, size: int, channels: int, crop: bool) -> Pixels:
    """The image at `path` as (channels, size, size). Raises whatever Pillow does."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=FORMATS) as picture:
            # A JPEG far larger than needed is decoded at a half, a quarter or an eighth, still twice as large.
            picture.draft(None, (2 * size, 2 * size))
            return to_array(to_square(to_eight_bits(picture, channels), size, crop))


class ImageFiles(Source):
    """Images of a folder, read when asked for. In the place of a broken one stands the next that can be read."""

    slow: ClassVar[bool] = True

    def __init__(self, index: FileIndex, size: int, channels: int, crop: bool, broken_limit: int):
        self.files, self.labels = index.files, index.labels
        self.size, self.channels, self.crop, self.broken_limit = size, channels, crop, broken_limit
        # How many are broken depends on who has read what, so the number of samples must not depend on it.
        self.facts = Facts(
            (channels, size, size), len(index.class_names), len(index.files), index.fingerprint, index.class_names
        )
        self.broken: dict[int, str] = {}
        self._probe()

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The images and their labels. Raises ConfigError that names the files when more than the limit are broken."""
        images = np.empty((len(indices), *self.facts.shape), np.uint8)
        chosen = [self._decode_into(images[row], index) for row, index in enumerate(indices)]
        batch = {"real": torch.from_numpy(images)}
        if self.labels is not None:
            batch["labels"] = torch.from_numpy(self.labels[chosen])
        return batch

    def _decode_into(self, row: Pixels, index: int) -> int:
        """Decodes the first readable image from `index` on, and gives its number."""
        for number in range(index, index + len(self)):
            number %= len(self)
            if number in self.broken:
                continue
            try:
                row[:] = decode(self._path(number), self.size, self.channels, self.crop)
                return number
            # Pillow raises nearly anything for one broken format or another.
            except Exception as error:
                self._report(number, error)
        raise ConfigError(f"dataset.root: not one image in {self.files.folder} can be read")

    def _path(self, number: int) -> str:
        return os.path.join(self.files.folder, self.files[number])  # noqa: PTH118, a Path a sample would cost

    def _probe(self) -> None:
        """Looks at the headers of some files, so that a folder of something else is known before a run begins."""
        count = min(len(self), PROBED)
        for number in (place * len(self) // count for place in range(count)):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", Image.DecompressionBombWarning)
                    Image.open(self._path(number), formats=FORMATS).close()
            except Exception as error:
                self._report(number, error)
        if len(self.broken) == len(self):
            raise ConfigError(f"dataset.root: not one image in {self.files.folder} can be read")

    def _report(self, number: int, error: Exception) -> None:
        """Counts a broken file and names it; too many are an error."""
        # Pillow repeats the path in some of its messages.
        reason = str(error).replace(repr(self._path(number)), "the file") or type(error).__name__
        self.broken[number] = f"{self.files[number]} ({reason})"
        if len(self.broken) > self.broken_limit:
            named = "\n  ".join(list(self.broken.values())[:10])
            raise ConfigError(
                f"dataset.root: more than {self.broken_limit} images in {self.files.folder} cannot be read:\n"
                f"  {named}\n  remove them, or raise dataset.broken_limit"
            )
        log.warning("%s: skipping %s", self.files.folder, self.broken[number])


class ImageFolder(Dataset):
    """Your own images: a folder of them, or of one folder a class; JPEG, PNG, WebP, BMP, TIFF of any mode."""

    name: ClassVar[str] = "image-folder"

    root: Root
    """The folder. Folders in it are classes, if there are at least two."""
    size: int = Field(64, ge=8, le=1024)
    """Height and width that every image gets."""
    crop: Literal["center", "none"] = "center"
    """center keeps the middle square of an image, none stretches all of it."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for RGB; images are converted, transparency is put on white."""
    broken_limit: int = Field(10, ge=0)
    """Files that may be unreadable: each is named and replaced by the next; more are an error. Counted a process."""
    loaders: int = Field(2, ge=0, le=256)
    """Processes per worker that read and decode ahead; 0 decodes in the worker itself."""

    def open(self) -> Source:
        """Images (channels, size, size), and a class for each folder."""
        index = FileIndex(existing_folder(self.root))
        return ImageFiles(index, self.size, self.channels, self.crop == "center", self.broken_limit)
