"""Two folders of images of two domains, without pairs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor

from gandist import ConfigError, Facts, Source
from gandist_datasets.file_index import FileIndex
from gandist_datasets.folders import Root, existing_folder
from gandist_datasets.images import Pixels
from gandist_datasets.paired_folders import PairedViews, paired
from gandist_datasets.views import View, ViewDataset, Views, decoded, opened, square


class Domain(Views):
    """The images of one folder, as one entry of the batch."""

    def __init__(self, dataset: ViewDataset, index: FileIndex, entry: str):
        super().__init__(dataset, index.files.folder, len(index.files), index.fingerprint)
        self.files, self.entries = index.files, (entry,)
        self.probe(lambda number: opened(self.path(number)).close())

    def path(self, number: int) -> str:
        """Of the file."""
        return os.path.join(self.files.folder, self.files[number])  # noqa: PTH118

    def named(self, number: int) -> str:
        """The path below the folder."""
        return self.files[number]

    def seen(self, number: int, view: View, chance: np.random.Generator) -> dict[str, Pixels]:
        """The one image."""
        return {self.entries[0]: square(decoded(self.path(number), self.needed, self.channels), view, self.size)}


class Domains(Source):
    """Both domains, each shuffled by itself. test: the held-out images, if there are any."""

    slow = True
    entries = ("a", "b")

    def __init__(self, a: Domain, b: Domain, test: Source | None):
        self.a, self.b, self._test = a, b, test
        size = max(len(a), len(b))
        self.facts = Facts(a.facts.shape, 0, size, f"{a.facts.fingerprint}-{b.facts.fingerprint}")

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Entries "a" and "b"; the smaller domain begins again at its end."""
        return {
            **self.a.read([index % len(self.a) for index in indices]),
            **self.b.read([index % len(self.b) for index in indices]),
        }

    def streams(self) -> Mapping[str, Source]:
        """One for each domain."""
        return {"a": self.a, "b": self.b}

    def held_out(self) -> Source | None:
        """Pairs, where testA and testB hold files of the same names; else only "a"."""
        return self._test


class UnpairedFolders(ViewDataset):
    """Your own images of two domains without pairs: folders trainA and trainB, and testA and testB if you have them."""

    name: ClassVar[str] = "unpaired-folders"

    root: Root
    """The folder that holds the others. Images may lie in folders below them. Where testA and testB hold files of the
    same names, these are pairs, and translations are compared with the truth."""

    def open(self) -> Source:
        """Entries "a" and "b", each (channels, size, size)."""
        root = existing_folder(self.root)
        require_folders(root, ("trainA", "trainB"))
        a, b = (Domain(self, FileIndex(root / f"train{name.upper()}"), name) for name in "ab")
        return Domains(a, b, self._test(root))

    def _test(self, root: Path) -> Source | None:
        if not (root / "testA").is_dir():
            return None
        index = FileIndex(root / "testA")
        if (root / "testB").is_dir():
            other = FileIndex(root / "testB")
            pairs, alone = paired(index.files, other.files)
            if not alone:
                return PairedViews(self, str(root / "testA"), pairs, f"{index.fingerprint}-{other.fingerprint}")
        return Domain(self, index, "a")


def require_folders(root: Path, names: Sequence[str]) -> None:
    """Raises ConfigError that names the folders that are missing, and those that are there."""
    if missing := [name for name in names if not (root / name).is_dir()]:
        there = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        raise ConfigError(
            f"dataset.root: {root} has no folder {' and no folder '.join(missing)}; it has "
            f"{', '.join(there[:6]) or 'no folders'}; needed are {' and '.join(names)}"
        )
