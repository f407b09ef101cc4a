"""Anybody's images as samples to score: a folder of pictures, or an .npz."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gandist.contract.facts import Facts
from gandist.errors import ConfigError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_BATCH = 64


class Pictures:
    """Images of one size, read 64 at a time: uint8 (B, C, H, W) as the facts say.

    Raises ConfigError for a folder without images, a file that cannot be read, and images of another size: resizing
    would change the scores.
    """

    def __init__(self, path: Path, facts: Facts):
        self._path, self._facts = Path(path), facts
        self._array = _array(self._path) if self._path.is_file() else None
        if self._array is not None:
            _, height, width, channels = self._array.shape
            self._require(self._path, (channels, height, width))
        elif not self._path.is_dir():
            raise ConfigError(f"{path}: no such folder of images or .npz")
        self._files = sorted(f for f in self._path.glob("*") if f.suffix.lower() in ENDINGS)
        if len(self) < 2:
            raise ConfigError(f"{path}: scores need at least 2 images ({', '.join(ENDINGS)}), there are {len(self)}")

    def __len__(self) -> int:
        return len(self._files) if self._array is None else len(self._array)

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, len(self), _BATCH):
            if self._array is not None:
                yield torch.from_numpy(self._array[start : start + _BATCH]).permute(0, 3, 1, 2)
            else:
                yield torch.stack([self._read(file) for file in self._files[start : start + _BATCH]])

    def _read(self, file: Path) -> Tensor:
        channels = self._facts.shape[0]
        try:
            with Image.open(file) as image:
                pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ConfigError(f"{file}: not a readable image ({error}); remove it") from error
        tensor = torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)
        self._require(file, tuple(tensor.shape))
        return tensor

    def _require(self, place: Path, shape: tuple[int, ...]) -> None:
        if shape != self._facts.shape:
            raise ConfigError(f"{place}: has channels, height and width {shape}, the run's data {self._facts.shape}")


def _array(path: Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images = arrays["images"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: not an .npz with `images` uint8 (N, H, W, C) ({error})") from error
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ConfigError(f"{path}: `images` should be uint8 (N, H, W, C), is {images.dtype} {images.shape}")
    return images
