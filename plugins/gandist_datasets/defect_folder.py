"""Images of faultless products to train on, and of others to be found, laid out as MVTec AD has it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from gandist import ConfigError, Facts, Source
from gandist_datasets.encoded import Encoded, EncodedDataset, EncodedImages, opened
from gandist_datasets.file_index import SUFFIXES
from gandist_datasets.folders import Root, existing_folder
from gandist_datasets.images import to_square

NORMAL, TRAIN, TEST, MASKS = "good", "train", "test", "ground_truth"


class Pictures(EncodedImages):
    """Images in files.

    masks: for each the file of its mask, "" where all of it is normal, None if there are no masks at all.
    anomalous: whether each is, None if nothing says so.
    """

    def __init__(
        self,
        dataset: DefectFolder,
        folder: Path,
        paths: list[Path],
        anomalous: list[bool] | None = None,
        masks: list[str] | None = None,
    ):
        self._folder, self._paths, self._masks = folder, [str(path) for path in paths], masks
        self._anomalous = None if anomalous is None else torch.tensor(anomalous, dtype=torch.bool)
        digest = hashlib.sha256()
        for path in paths:
            digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\n".encode())
        super().__init__(dataset, str(folder), len(paths), None, (), 0, digest.hexdigest()[:32])
        self.held: Pictures | None = None
        if anomalous is not None or dataset.broken_limit == 0:
            # The next image in place of a broken one would get its name, its mask and its truth.
            self.broken_limit = 0
        self.probe(500)

    def encoded(self, numbers: Sequence[int]) -> list[Encoded | Exception]:
        """The paths of the files."""
        return [self._paths[number] for number in numbers]

    def named(self, number: int) -> str:
        """The path below the folder."""
        return Path(self._paths[number]).relative_to(self._folder).as_posix()

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Images uint8 (B, C, size, size); of held-out ones whether they are anomalous, bool (B,), and masks, bool
        (B, size, size)."""
        batch = super().read(indices)
        if self._anomalous is not None:
            batch["anomalous"] = self._anomalous[torch.as_tensor(indices, dtype=torch.int64)]
        if self._masks is not None:
            batch["masks"] = torch.stack([self._mask(number) for number in indices])
        return batch

    def held_out(self) -> Source | None:
        """The images of `test`."""
        return self.held

    def _mask(self, number: int) -> Tensor:
        assert self._masks is not None
        file = self._masks[number]
        if not file:
            return torch.zeros(self.size, self.size, dtype=torch.bool)
        try:
            with opened(file) as mask, opened(self._paths[number]) as picture:
                if mask.size != picture.size:
                    raise ConfigError(
                        f"dataset.root: the mask {file} has {mask.size[0]}×{mask.size[1]} pixels, its image "
                        f"{self.named(number)} {picture.size[0]}×{picture.size[1]}"
                    )
                pixels = np.asarray(to_square(mask.convert("L"), self.size, self.crop))
        except OSError as error:
            raise ConfigError(f"dataset.root: the mask {file} cannot be read: {error}") from None
        return torch.from_numpy(pixels > 127)


class DefectFolder(EncodedDataset):
    """Images as in MVTec AD (Bergmann et al. 2019): train/good to learn from, test/good and test/DEFECT held out.

    Masks of defects, if there are any, lie in ground_truth/DEFECT and are called as the image, or NAME_mask.
    """

    name: ClassVar[str] = "defect-folder"

    root: Root
    """The folder that holds train and test."""

    def open(self) -> Source:
        """Images (channels, size, size) of train/good; `held_out()` has those of test."""
        root = existing_folder(self.root)
        paths = _images(root / TRAIN / NORMAL)
        if len(paths) < 2:
            raise ConfigError(
                f"dataset.root: {root / TRAIN / NORMAL} holds {len(paths)} images ({', '.join(SUFFIXES)}); put those "
                f"of faultless products there"
            )
        source = Pictures(self, root, paths)
        source.held = self._tested(root)
        return source

    def like(self, facts: Facts, root: str) -> Source:
        """The images of `test` if the folder is laid out so, or else all below it."""
        folder = existing_folder(root)
        tested = self._tested(folder)
        if tested is not None:
            return tested
        paths = _images(folder)
        if not paths:
            raise ConfigError(f"{root}: holds no images ({', '.join(SUFFIXES)})")
        return Pictures(self.model_copy(update={"broken_limit": 0}), folder, paths)

    def _tested(self, root: Path) -> Pictures | None:
        kinds = sorted(path for path in (root / TEST).iterdir() if path.is_dir()) if (root / TEST).is_dir() else []
        found = [(kind.name, path) for kind in kinds for path in _images(kind)]
        if not found:
            return None
        truths = [kind != NORMAL for kind, _ in found]
        masks = [_mask_of(root, kind, path) for kind, path in found] if (root / MASKS).is_dir() else None
        return Pictures(self, root, [path for _, path in found], truths, masks)


def _images(folder: Path) -> list[Path]:
    """All images anywhere below a folder, in the order of their names; what begins with a dot is left out."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _mask_of(root: Path, kind: str, path: Path) -> str:
    if kind == NORMAL:
        return ""
    for stem in (f"{path.stem}_mask", path.stem):
        for suffix in SUFFIXES:
            if (file := root / MASKS / kind / f"{stem}{suffix}").is_file():
                return str(file)
    raise ConfigError(f"dataset.root: there is no mask {root / MASKS / kind / path.stem}_mask.png of {path}")
