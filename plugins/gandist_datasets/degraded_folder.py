"""Pairs made of a folder of good images: the image made worse, and the image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from PIL import Image
from pydantic import Field

from gandist import Source
from gandist_datasets.file_index import FileIndex
from gandist_datasets.folders import Root, existing_folder
from gandist_datasets.images import Pixels, to_array
from gandist_datasets.views import View, ViewDataset, Views, decoded, opened


class Degraded(Views):
    """Some images of a folder, as "b", beside what is left of them, as "a". held: those that no training sees."""

    entries = ("a", "b")

    def __init__(self, dataset: DegradedFolder, index: FileIndex, numbers: Sequence[int], held: Source | None):
        about = f"{index.fingerprint}-{dataset.noise}-{dataset.shrink}-{dataset.held_out}-{len(numbers)}"
        super().__init__(dataset, index.files.folder, len(numbers), about)
        self.files, self.numbers, self._held = index.files, numbers, held
        self.noise, self.shrink = dataset.noise, dataset.shrink
        self.probe(lambda number: opened(self._path(number)).close())

    def _path(self, number: int) -> str:
        return os.path.join(self.files.folder, self.named(number))  # noqa: PTH118

    def named(self, number: int) -> str:
        """The path below the folder."""
        return self.files[self.numbers[number]]

    def seen(self, number: int, view: View, chance: np.random.Generator) -> dict[str, Pixels]:
        """Entries "a", made worse by this chance, and "b"."""
        good = view.of(decoded(self._path(number), self.needed, self.channels), self.size)
        small = max(1, round(self.size / self.shrink))
        shrunk = good.resize((small, small), Image.Resampling.BOX) if small < self.size else good
        worse = to_array(shrunk.resize(good.size, Image.Resampling.BICUBIC)).astype(np.float32)
        if self.noise:
            worse = worse + chance.normal(0.0, 255 * self.noise, worse.shape)
        return {"a": worse.round().clip(0, 255).astype(np.uint8), "b": to_array(good)}

    def held_out(self) -> Source | None:
        """Pairs of the images that were left out, each always with the same noise."""
        return self._held


class DegradedFolder(ViewDataset):
    """Your own good images as pairs: with noise and without, coarse and fine; for denoising and super-resolution."""

    name: ClassVar[str] = "degraded-folder"

    root: Root
    """The folder of images, in it or below it."""
    noise: float = Field(default=0.1, ge=0.0, le=1.0)
    """Standard deviation of the normal noise that is added, as a share of the range; drawn anew each time."""
    shrink: float = Field(default=1.0, ge=1.0, le=16.0)
    """Factor by which images are shrunk, and enlarged again, before the noise."""
    held_out: float = Field(default=0.1, ge=0.0, le=0.5)
    """Share of the images that is left out of the training, spread evenly over the folder, for scores and pictures."""

    def open(self) -> Source:
        """Entries "a" and "b", each (channels, size, size)."""
        index = FileIndex(existing_folder(self.root))
        total = len(index.files)
        count = round(self.held_out * total)
        left = {place * total // count for place in range(count)}
        held = Degraded(self, index, sorted(left), None) if left else None
        return Degraded(self, index, [number for number in range(total) if number not in left], held)
