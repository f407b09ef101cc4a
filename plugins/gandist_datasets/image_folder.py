"""A folder of the user's own images, here or behind a URL, decoded while training."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from gandist import Place, Source
from gandist_datasets.encoded import Encoded, EncodedDataset, EncodedImages
from gandist_datasets.file_index import FileIndex
from gandist_datasets.folders import Root, existing_folder

PROBED = 500
"""Files whose headers are looked at when the folder is opened; all, if there are no more than that."""
PROBED_AFAR = 4
"""The same behind a URL, where each is a whole file that comes."""

AT_ONCE = 16
"""Files that are asked for at the same time."""


class ImageFiles(EncodedImages):
    """Images of a folder. Behind a URL they are asked for one by one until all are on this node."""

    def __init__(self, dataset: ImageFolder, index: FileIndex, place: Place):
        self.files, self._place, self._here = index.files, place, not place.is_url
        names, labels = index.class_names, index.labels
        # Behind a URL the name of its place in the cache says nothing to anybody.
        shown = str(place) if place.is_url else index.files.folder
        super().__init__(dataset, shown, len(index.files), labels, names, len(names), index.fingerprint)
        self.elsewhere = place.total
        self.probe(PROBED_AFAR if place.is_url else PROBED)

    def prepare(self, told: Callable[[str], None]) -> None:
        """Brings all images to this node."""
        self._place.fetch(told)
        self._here = True

    def encoded(self, numbers: Sequence[int]) -> list[Encoded | Exception]:
        """The paths of the files, or their contents as long as they are elsewhere."""
        if self._here:
            # Paths as text: a Path a sample would cost.
            return [os.path.join(self.files.folder, self.files[number]) for number in numbers]  # noqa: PTH118
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self._from_afar, numbers))

    def _from_afar(self, number: int) -> bytes | Exception:
        content = self._place.read(self.files.prefix + self.files[number])
        return FileNotFoundError("it is gone") if content is None else content

    def named(self, number: int) -> str:
        """The path below the folder."""
        return self.files[number]


class ImageFolder(EncodedDataset):
    """Your own images: a folder of them, or of one folder a class; JPEG, PNG, WebP, BMP, TIFF of any mode."""

    name: ClassVar[str] = "image-folder"

    root: Root
    """The folder, or the URL of one or of a .zip or .tar. Folders in it are classes, if there are at least two."""
    unlabelled: Root | None = None
    """Folder or URL of more images, which training reads without labels; then a fifth of each class is held out."""

    def open(self) -> Source:
        """Images (channels, size, size), and a class for each folder."""
        files = self._files(self.root)
        more = self._files(self.unlabelled) if self.unlabelled is not None else None
        return self.as_seen(files, files.labels, split=True, more=more)

    def _files(self, root: str) -> ImageFiles:
        place = Place(root)
        if place.is_url:
            return ImageFiles(self, FileIndex.listed(place.folder, place.sizes(), str(place)), place)
        return ImageFiles(self, FileIndex(existing_folder(root)), place)
