"""Images in a few large tars, here or behind a URL, each found by its bytes; what `gandist pack` writes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from gandist import ConfigError, Place, Source
from gandist_datasets.encoded import Encoded, EncodedDataset, EncodedImages
from gandist_datasets.folders import Root, existing_folder
from gandist_datasets.packing import index_tars, pack_folder
from gandist_datasets.shard_index import INDEX, ShardIndex, read_index

PROBED = 8
"""Images whose headers are looked at when the shards are opened."""


class ShardedImages(EncodedImages):
    """Samples of the shards, in the order of the index."""

    def __init__(self, dataset: Shards, index: ShardIndex, place: Place):
        self.index, self._place, self._prepared = index, place, False
        self._known = {shard.name: (shard.size, shard.sha256) for shard in index.shards}
        names, classes = index.class_names, index.classes
        super().__init__(dataset, str(place), len(index), index.labels, names, classes, index.fingerprint)
        if place.is_url:
            self.elsewhere = sum(shard.size for shard in index.shards)
        self.probe(PROBED)

    def prepare(self, told: Callable[[str], None]) -> None:
        """From now on shards come in the background, as many as the cache of the node takes."""
        self._prepared = True

    def encoded(self, numbers: Sequence[int]) -> list[Encoded | Exception]:
        """The contents. Raises ConfigError if one is not what was packed."""
        index = self.index
        wanted = [
            (index.shards[index.shard[number]].name, int(index.start[number]), int(index.length[number]))
            for number in numbers
        ]
        contents = self._place.parts(self._known, wanted, keep=self._prepared)
        for number, content in zip(numbers, contents, strict=True):
            if zlib.crc32(content) != index.crc[number]:
                short = len(content) < index.length[number]
                raise ConfigError(
                    f"dataset.root: {self.named(number)} of {self.shown} is "
                    f"{'cut short' if short else 'not what was packed'}; the shard is damaged, or was changed: copy it "
                    "again"
                )
        return list(contents)

    def named(self, number: int) -> str:
        """Sample and shard."""
        shard = self.index.shards[self.index.shard[number]]
        return f"sample {number} in {shard.name} at byte {int(self.index.start[number])}"


class Shards(EncodedDataset):
    """Images in tar shards with an index, as `gandist pack` writes them: for data that do not fit a node."""

    name: ClassVar[str] = "shards"

    root: Root
    """The folder with the shards and their index.npz, or its URL (s3://, gs://, https://)."""

    def open(self) -> Source:
        """Images (channels, size, size), and their classes if they were packed with some."""
        place = Place(self.root)
        if place.is_archive:
            raise ConfigError(f"dataset.root: {place} is an archive; give the URL of the folder that holds {INDEX}")
        if not place.is_url:
            existing_folder(self.root)
        content = place.read(INDEX)
        if content is None:
            raise ConfigError(
                f"dataset.root: there is no {INDEX} in {place}; write shards with `gandist pack FOLDER OUT`, or the "
                "index of tars that are there with `gandist pack FOLDER --index`"
            )
        index = read_index(content, f"{place}/{INDEX}")
        if not place.is_url:
            _require_whole(Path(self.root), index)
        images = ShardedImages(self, index, place)
        return self.as_seen(images, images.labels, split=True)

    @classmethod
    def pack(cls, folder: str, out: str | None, **options: Any) -> dict[str, Any]:
        """What `gandist pack` does: writes shards of a folder of images, or with `out` None the index of tars."""
        return index_tars(folder, **options) if out is None else pack_folder(folder, out, **options)


def _require_whole(folder: Path, index: ShardIndex) -> None:
    for shard in index.shards:
        path = folder / shard.name
        size = path.stat().st_size if path.is_file() else None
        if size != shard.size:
            found = "is missing" if size is None else f"has {size:,} bytes instead of {shard.size:,}"
            raise ConfigError(f"dataset.root: {path} {found}; copy it again, or pack the data anew")
