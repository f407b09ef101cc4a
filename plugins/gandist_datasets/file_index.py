"""The list of the image files in a folder: fast to make and cheap to send to other processes, also for a million."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path

import numpy as np

from gandist import ConfigError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class Files:
    """Paths in one block of bytes, because a million string objects are slow to pickle.

    folder: in which they lie, on this machine. prefix: what stands before them in the list that they come from.
    """

    def __init__(self, folder: Path, names: list[str], prefix: str = ""):
        self.folder, self.prefix = str(folder), prefix
        encoded = [os.fsencode(name) for name in names]
        self._bytes = b"".join(encoded)
        self._ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> str:
        """The path below the folder."""
        start = self._ends[number - 1] if number else 0
        return os.fsdecode(self._bytes[start : self._ends[number]])


class FileIndex:
    """The images of a folder in a fixed order, and the class of each.

    Folders in `folder` are classes in the order of their names, with the images anywhere below them; images that lie
    in `folder` itself, or in one folder only, have no classes.

    Attributes:
        files: the paths, ordered by class and name.
        labels: int64 (N,), or None.
        class_names: the names of the folders, or ().
        fingerprint: of the names and sizes; copies of the folder on other machines have the same.
    """

    def __init__(self, folder: Path):
        own, below = _scan(folder)
        classes = {name: found for name in sorted(below) if (found := sorted(_images_below(folder / name, name)))}
        self._take(folder, sorted(own), classes, str(folder))

    @classmethod
    def listed(cls, folder: Path, sizes: Mapping[str, int], shown: str) -> FileIndex:
        """The index of files that will lie in `folder`, from the list of their names and sizes.

        A folder that all images lie in, as in most archives, is no class. shown: where they come from, for messages.
        """
        hidden = re.compile(r"(^|/)\.")
        found = {n: size for n, size in sizes.items() if n.lower().endswith(SUFFIXES) and not hidden.search(n)}
        prefix = _common_folder(list(found))
        own: list[tuple[str, int]] = []
        classes: dict[str, list[tuple[str, int]]] = {}
        for name, size in sorted((name[len(prefix) :], size) for name, size in found.items()):
            top, slash, _ = name.partition("/")
            (classes.setdefault(top, []) if slash else own).append((name, size))
        index = cls.__new__(cls)
        index._take(folder / prefix, own, dict(sorted(classes.items())), shown, prefix)
        return index

    def _take(
        self,
        folder: Path,
        own: list[tuple[str, int]],
        classes: dict[str, list[tuple[str, int]]],
        shown: str,
        prefix: str = "",
    ) -> None:
        if own and classes:
            raise ConfigError(
                f"dataset.root: {shown} holds both images ({own[0][0]}, …) and folders of images "
                f"({', '.join(list(classes)[:3])}); move the images into a folder, or give one of the folders as root"
            )
        entries = own or [entry for found in classes.values() for entry in found]
        if len(entries) < 2:
            found = f"only one image, {entries[0][0]}" if entries else f"no images ({', '.join(SUFFIXES)})"
            raise ConfigError(f"dataset.root: {shown} holds {found}; at least 2 are needed")
        self.files = Files(folder, [name for name, _ in entries], prefix)
        self.class_names = tuple(classes) if len(classes) > 1 else ()
        counts = [len(found) for found in classes.values()]
        self.labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts) if self.class_names else None
        digest = hashlib.sha256()
        for name, size in entries:
            digest.update(b"%s\0%d\n" % (os.fsencode(name), size))
        self.fingerprint = digest.hexdigest()[:32]


def _common_folder(names: list[str]) -> str:
    """The folder, with a slash, in which all of these files lie; "" if there is none."""
    folders = [name.rpartition("/")[0].split("/") for name in names] or [[]]
    pairs = zip(min(folders), max(folders), strict=False)
    return "".join(f"{one}/" for one, _ in takewhile(lambda pair: pair[0] == pair[1] != "", pairs))


def _scan(folder: Path | str) -> tuple[list[tuple[str, int]], list[str]]:
    """The images of a folder with their sizes, and the names of its folders; what begins with a dot is left out."""
    images, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.name.lower().endswith(SUFFIXES):
                    images.append((entry.name, _size(entry)))
    except OSError as error:
        raise ConfigError(f"dataset.root: cannot list {folder}: {error.strerror}") from None
    return images, folders


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        # A link to nowhere counts as a broken image, like a file without content.
        return 0


def _images_below(folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    """The images anywhere below a folder, as (path after `prefix`, size)."""
    waiting, seen = [(folder, prefix)], set()
    while waiting:
        place, path = waiting.pop()
        # Links may lead back to where they are.
        if (real := os.path.realpath(place)) in seen:
            continue
        seen.add(real)
        images, folders = _scan(place)
        yield from ((f"{path}/{name}", size) for name, size in images)
        waiting += [(place / name, f"{path}/{name}") for name in folders]
