"""Crops and flips of pictures of any size, as image-to-image methods train on them."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from pydantic import Field
from torch import Tensor

from gandist import ConfigError, Dataset, Facts
from gandist_datasets.encoded import Skipping, opened
from gandist_datasets.images import Pixels, to_array, to_eight_bits

PROBED = 500
"""Files whose headers are looked at when a folder is opened."""


@dataclass(frozen=True)
class View:
    """Which square of a picture is seen.

    zoom: the shorter side of the picture in sides of the square, at least 1. left, top: where it lies, 0 to 1 of what
    there is room for. flip: whether it is mirrored.
    """

    zoom: float = 1.0
    left: float = 0.5
    top: float = 0.5
    flip: bool = False

    def of(self, picture: Image.Image, size: int) -> Image.Image:
        """The square at size × size, antialiased."""
        width, height = picture.size
        side = min(width, height) / self.zoom
        x, y = self.left * (width - side), self.top * (height - side)
        # In one go from the whole picture, so that what lies around the crop counts at its borders.
        seen = picture.resize((size, size), Image.Resampling.BICUBIC, box=(x, y, x + side, y + side))
        return ImageOps.mirror(seen) if self.flip else seen


CENTRE = View()


class ViewDataset(Dataset):
    """What all data sets of such views have in common."""

    size: int = Field(default=64, ge=8, le=1024)
    """Height and width of the crops that are trained on, and of held-out images; `gandist translate` takes any size."""
    zoom: float = Field(default=1.12, ge=1.0, le=8.0)
    """Shorter side of an image beside `size` before a random square is cut out; 1.12 is 286 for 256 (Isola et al.
    2017, appendix 6.2). Held-out images are cut out of the middle, with 1."""
    flip: bool = True
    """Whether training sees half of the crops mirrored."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for RGB; images are converted, transparency is put on white."""
    broken_limit: int = Field(default=10, ge=0)
    """Files that may be unreadable: each is named and replaced by the next; more are an error. Counted a process."""
    loaders: int = Field(default=2, ge=0, le=256)
    """Processes per worker that read and decode ahead; 0 decodes in the worker itself."""


class Views(Skipping):
    """Images decoded when asked for, whole squares from the middle for `read`, random ones for `varied`."""

    def __init__(self, dataset: ViewDataset, shown: str, count: int, fingerprint: str):
        super().__init__(shown, dataset.broken_limit)
        self.size, self.channels = dataset.size, dataset.channels
        self.zoom, self.flip = dataset.zoom, dataset.flip
        self.needed = round(dataset.size * dataset.zoom)
        about = f"{fingerprint}-{dataset.size}-{dataset.channels}"
        self.facts = Facts((self.channels, self.size, self.size), 0, count, about)

    @abstractmethod
    def seen(self, number: int, view: View, chance: np.random.Generator) -> dict[str, Pixels]:
        """The entries of a sample, each (C, size, size). Raises whatever Pillow does."""

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The middles of the images, uint8 (B, C, size, size) by entry."""
        # The chance of a sample that always looks the same is its own.
        return self._rows(indices, lambda row: (CENTRE, np.random.default_rng([0, indices[row]])))

    def varied(self, indices: Sequence[int], seed: int, start: int) -> dict[str, Tensor]:
        """A random square of each, mirrored or not."""

        def view(row: int) -> tuple[View, np.random.Generator]:
            chance = np.random.default_rng([seed, start + row])
            left, top, flip = chance.random(3)
            return View(self.zoom, left, top, self.flip and bool(flip < 0.5)), chance

        return self._rows(indices, view)

    def _rows(
        self, indices: Sequence[int], view: Callable[[int], tuple[View, np.random.Generator]]
    ) -> dict[str, Tensor]:
        rows = [self._readable(index, *view(row)) for row, index in enumerate(indices)]
        return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}

    def _readable(self, index: int, view: View, chance: np.random.Generator) -> dict[str, Pixels]:
        """The first readable sample from `index` on."""
        for number in range(index, index + len(self)):
            number %= len(self)
            if number in self.broken:
                continue
            try:
                return self.seen(number, view, chance)
            # Pillow raises nearly anything for one broken format or another.
            except Exception as error:
                self.report(number, error, self.named(number))
        raise ConfigError(f"dataset.root: not one image in {self.shown} can be read")

    def probe(self, check: Callable[[int], None]) -> None:
        """Looks at some samples before a run begins. check: raises what is wrong with one."""
        count = min(len(self), PROBED)
        for number in (place * len(self) // count for place in range(count)):
            try:
                check(number)
            except Exception as error:
                self.report(number, error, self.named(number))
        if len(self.broken) == len(self):
            raise ConfigError(f"dataset.root: not one image in {self.shown} can be read")


def decoded(path: str, size: int, channels: int) -> Image.Image:
    """The whole picture in mode "L" or "RGB", of at least 2 · size pixels a side if the file has them. size: of the
    whole of it, as far as it is needed."""
    with opened(path) as picture, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # A JPEG far larger than needed is decoded at a half, a quarter or an eighth.
        picture.draft(None, (2 * size, 2 * size))
        return to_eight_bits(picture, channels)


def square(picture: Image.Image, view: View, size: int) -> Pixels:
    """What the view shows of it, (C, size, size)."""
    return to_array(view.of(picture, size))


def sides(path: str) -> tuple[int, int]:
    """Width and height as the EXIF orientation turns them, from the header."""
    with opened(path) as picture:
        width, height = picture.size
        turned = picture.getexif().get(0x0112, 1) >= 5
        return (height, width) if turned else (width, height)
