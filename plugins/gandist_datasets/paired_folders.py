"""Images in pairs, an input and what it should become: two folders, or both side by side in one image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import ClassVar

import numpy as np
from PIL import Image

from gandist import ConfigError, Source
from gandist_datasets.file_index import FileIndex, Files
from gandist_datasets.folders import Root, existing_folder
from gandist_datasets.images import Pixels
from gandist_datasets.views import View, ViewDataset, Views, decoded, sides, square

SAME_SHAPE = 0.02
"""Two images whose sides are in a ratio that differs by no more than this have the same crops."""


@dataclass(frozen=True)
class Pair:
    """The files of a pair: two, or one with both halves."""

    a: str
    b: str | None = None


def paired(a: Files, b: Files) -> tuple[list[Pair], list[str]]:
    """The pairs by the paths below the folders without their endings, and the names that are on one side only."""
    stems = [{str(PurePath(files[n]).with_suffix("")): files[n] for n in range(len(files))} for files in (a, b)]
    both = sorted(stems[0].keys() & stems[1].keys())
    pairs = [Pair(os.path.join(a.folder, stems[0][s]), os.path.join(b.folder, stems[1][s])) for s in both]  # noqa: PTH118
    alone = sorted(stems[0].keys() ^ stems[1].keys())
    return pairs, [(stems[0] | stems[1])[stem] for stem in alone]


class PairedViews(Views):
    """Pairs, of which both sides are seen in the same view. held: those that no training sees."""

    entries = ("a", "b")

    def __init__(
        self,
        dataset: ViewDataset,
        shown: str,
        pairs: Sequence[Pair],
        fingerprint: str,
        swap: bool = False,
        held: Source | None = None,
    ):
        super().__init__(dataset, shown, len(pairs), f"{fingerprint}-swapped" if swap else fingerprint)
        self.pairs, self.swap, self._held = pairs, swap, held
        self.probe(lambda number: _require_fit(self.pairs[number]))

    def named(self, number: int) -> str:
        """The path of the first file."""
        return self.pairs[number].a

    def seen(self, number: int, view: View, chance: np.random.Generator) -> dict[str, Pixels]:
        """Entries "a" and "b"."""
        pair = self.pairs[number]
        _require_fit(pair)
        first = decoded(pair.a, self.needed if pair.b else 2 * self.needed, self.channels)
        both = _halves(first) if pair.b is None else (first, decoded(pair.b, self.needed, self.channels))
        names = ("b", "a") if self.swap else ("a", "b")
        return {name: square(one, view, self.size) for name, one in zip(names, both, strict=True)}

    def held_out(self) -> Source | None:
        """The pairs of the test folders."""
        return self._held


def _halves(picture: Image.Image) -> tuple[Image.Image, Image.Image]:
    width, height = picture.size
    return picture.crop((0, 0, width // 2, height)), picture.crop((width - width // 2, 0, width, height))


def _require_fit(pair: Pair) -> None:
    """Raises ValueError for a pair that has no common crop."""
    width, height = sides(pair.a)
    if pair.b is None:
        if width < 2 * min(height, 8):
            raise ValueError(f"{width}×{height} pixels are no two images side by side")
        return
    other = sides(pair.b)
    if abs(width * other[1] / (height * other[0]) - 1) > SAME_SHAPE:
        raise ValueError(f"{width}×{height} pixels, its partner {pair.b} has {other[0]}×{other[1]}: another shape")


class PairedFolders(ViewDataset):
    """Your own images in pairs: folders trainA and trainB with files of the same names, or one folder train of images
    A|B; testA and testB, or test, in the same way."""

    name: ClassVar[str] = "paired-folders"

    root: Root
    """The folder that holds the others. Images may lie in folders below them. The two of a pair may be of different
    sizes, as for super-resolution, but have the same shape."""
    swap: bool = False
    """Whether B becomes A's image: for sets that are published as B|A."""

    def open(self) -> Source:
        """Entries "a" and "b" of the same crop, each (channels, size, size)."""
        root = existing_folder(self.root)
        train = self._pairs(root, "train", None)
        if train is None:
            there = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
            raise ConfigError(
                f"dataset.root: {root} has neither trainA and trainB nor train; it has "
                f"{', '.join(there[:6]) or 'no folders'}"
            )
        return train

    def _pairs(self, root: Path, split: str, held: Source | None) -> PairedViews | None:
        if split == "train":
            held = self._pairs(root, "test", None) or self._pairs(root, "val", None)
        two = [root / f"{split}{name}" for name in "AB"]
        if all(folder.is_dir() for folder in two):
            a, b = map(FileIndex, two)
            pairs, alone = paired(a.files, b.files)
            if alone:
                raise ConfigError(
                    f"dataset.root: {len(alone)} images of {two[0]} and {two[1]} have no partner of the same name in "
                    f"the other folder ({', '.join(alone[:3])}{', …' if len(alone) > 3 else ''}); remove them, or "
                    f"use dataset.name: unpaired-folders"
                )
            return PairedViews(self, str(two[0]), pairs, f"{a.fingerprint}-{b.fingerprint}", self.swap, held)
        if not (root / split).is_dir():
            return None
        index = FileIndex(root / split)
        paths = [os.path.join(index.files.folder, index.files[n]) for n in range(len(index.files))]  # noqa: PTH118
        return PairedViews(self, str(root / split), [Pair(path) for path in paths], index.fingerprint, self.swap, held)
