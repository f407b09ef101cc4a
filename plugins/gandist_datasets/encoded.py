"""Images that are decoded while training, wherever their bytes come from."""

from __future__ import annotations

import io
import logging
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from torch import Tensor

from gandist import ConfigError, Facts, Source
from gandist_datasets.images import FORMATS, Pixels, to_array, to_eight_bits, to_square
from gandist_datasets.labelling import Labelling

log = logging.getLogger("gandist.datasets")

Encoded = str | bytes
"""The path of a file, or its content."""


def opened(image: Encoded) -> Image.Image:
    """The picture, not decoded yet. Raises whatever Pillow does, also for more pixels than its limit against bombs."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(image if isinstance(image, str) else io.BytesIO(image), formats=FORMATS)


def decode(image: Encoded, size: int, channels: int, crop: bool) -> Pixels:
    """The image as (channels, size, size). Raises whatever Pillow does."""
    with opened(image) as picture, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # A JPEG far larger than needed is decoded at a half, a quarter or an eighth, still twice as large.
        picture.draft(None, (2 * size, 2 * size))
        return to_array(to_square(to_eight_bits(picture, channels), size, crop))


class EncodedDataset(Labelling):
    """What all data sets of encoded images have in common: how they are decoded."""

    size: int = Field(default=64, ge=8, le=1024)
    """Height and width that every image gets."""
    crop: Literal["center", "none"] = "center"
    """center keeps the middle square of an image, none stretches all of it."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for RGB; images are converted, transparency is put on white."""
    broken_limit: int = Field(default=10, ge=0)
    """Files that may be unreadable: each is named and replaced by the next; more are an error. Counted a process."""
    loaders: int = Field(default=2, ge=0, le=256)
    """Processes per worker that read and decode ahead; 0 decodes in the worker itself."""


class Skipping(Source):
    """Files of which some may be unreadable: each is named once, and more than a few are an error.

    shown: where they lie, for messages. broken_limit: how many may be.
    """

    slow = True

    def __init__(self, shown: str, broken_limit: int):
        self.shown, self.broken_limit = shown, broken_limit
        self.broken: dict[int, str] = {}

    @abstractmethod
    def named(self, number: int) -> str:
        """The name of an image, for messages."""

    def report(self, number: int, error: Exception, image: Encoded | Exception) -> None:
        """Counts a broken image and names it; too many are an error."""
        # Pillow repeats the path in some of its messages, and the address of a buffer in others.
        reason = str(error).replace(repr(image), "the file") if isinstance(image, str) else str(error)
        reason = "cannot identify image file" if "BytesIO" in reason else reason or type(error).__name__
        self.broken[number] = f"{self.named(number)} ({reason})"
        if len(self.broken) > self.broken_limit:
            listed = "\n  ".join(list(self.broken.values())[:10])
            raise ConfigError(
                f"dataset.root: more than {self.broken_limit} images in {self.shown} cannot be read:\n"
                f"  {listed}\n  remove them, or raise dataset.broken_limit"
            )
        log.warning("%s: skipping %s", self.shown, self.broken[number])


class EncodedImages(Skipping):
    """Encoded images, read when asked for. In the place of a broken one stands the next that can be read.

    shown: where they lie, for messages. labels: int64 (N,), or None.
    """

    def __init__(
        self,
        dataset: EncodedDataset,
        shown: str,
        count: int,
        labels: NDArray[np.int64] | None,
        class_names: tuple[str, ...],
        classes: int,
        fingerprint: str,
    ):
        super().__init__(shown, dataset.broken_limit)
        self.labels = labels
        self.size, self.channels, self.crop = dataset.size, dataset.channels, dataset.crop == "center"
        # How many are broken depends on who has read what, so the number of samples must not depend on it.
        shape = (self.channels, self.size, self.size)
        self.facts = Facts(shape, classes, count, fingerprint, class_names)

    @abstractmethod
    def encoded(self, numbers: Sequence[int]) -> list[Encoded | Exception]:
        """These images as they lie there, or why one cannot be got."""

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The images and their labels. Raises ConfigError that names the files when more than the limit are broken."""
        images = np.empty((len(indices), *self.facts.shape), np.uint8)
        found = self.encoded(indices)
        chosen = [self._decode_into(images[row], index, found[row]) for row, index in enumerate(indices)]
        batch = {"real": torch.from_numpy(images)}
        if self.labels is not None:
            batch["labels"] = torch.from_numpy(self.labels[chosen])
        return batch

    def _decode_into(self, row: Pixels, index: int, first: Encoded | Exception) -> int:
        """Decodes the first readable image from `index` on, and gives its number."""
        for number in range(index, index + len(self)):
            number %= len(self)
            if number in self.broken:
                continue
            image = first if number == index else self.encoded([number])[0]
            try:
                if isinstance(image, Exception):
                    raise image
                row[:] = decode(image, self.size, self.channels, self.crop)
                return number
            # Pillow raises nearly anything for one broken format or another.
            except Exception as error:
                self.report(number, error, image)
        raise ConfigError(f"dataset.root: not one image in {self.shown} can be read")

    def probe(self, count: int) -> None:
        """Looks at the headers of some images, so that something else is known before a run begins."""
        count = min(len(self), count)
        numbers = [place * len(self) // count for place in range(count)]
        for number, image in zip(numbers, self.encoded(numbers), strict=True):
            try:
                if isinstance(image, Exception):
                    raise image
                opened(image).close()
            except Exception as error:
                self.report(number, error, image)
        if len(self.broken) == len(self):
            raise ConfigError(f"dataset.root: not one image in {self.shown} can be read")
