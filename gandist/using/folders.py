"""Anybody's images as samples: a folder of pictures, a single one, or an .npz."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from gandist.contract.facts import Facts
from gandist.errors import ConfigError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB")
"""What such files may hold; Pillow knows more, and starts Ghostscript for one of them."""
DENSEST, HARMLESS = 100, 2**30
"""An .npz may unpack to this many times its size, or to this many bytes."""
_BATCH = 64


class Pictures:
    """Images of one size, read 64 at a time: uint8 (B, C, H, W) as the facts say.

    Raises ConfigError for a folder without `fewest` images, a file that cannot be read, and images of another size:
    resizing would change the scores.

    fit: images of files get the size instead, their central square scaled bicubically; `fitted` counts them.
    """

    def __init__(self, path: Path, facts: Facts, fewest: int = 2, fit: bool = False):
        self._path, self._facts, self._fit, self.fitted = Path(path), facts, fit, 0
        single = self._path.is_file() and self._path.suffix.lower() in ENDINGS
        self._array = _array(self._path, self._require) if self._path.is_file() and not single else None
        if self._array is None and not single and not self._path.is_dir():
            raise ConfigError(f"{path}: no such folder of images or .npz")
        found = [self._path] if single else self._path.glob("*")
        self._files = sorted(f for f in found if f.suffix.lower() in ENDINGS)
        if len(self) < fewest:
            image = "image" if fewest == 1 else "images"
            raise ConfigError(
                f"{path}: at least {fewest} {image} ({', '.join(ENDINGS)}) are needed, there are {len(self)}"
            )

    @property
    def names(self) -> list[str]:
        """What the images are called: their files, or their numbers in an .npz."""
        return (
            [str(number) for number in range(len(self))] if self._array is not None else [f.name for f in self._files]
        )

    def __len__(self) -> int:
        return len(self._files) if self._array is None else len(self._array)

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, len(self), _BATCH):
            if self._array is not None:
                yield torch.from_numpy(self._array[start : start + _BATCH]).permute(0, 3, 1, 2)
            else:
                yield torch.stack([self._read(file) for file in self._files[start : start + _BATCH]])

    def image(self, index: int) -> Tensor:
        """One of them by its place, uint8 (C, H, W)."""
        if self._array is not None:
            return torch.from_numpy(self._array[index].copy()).permute(2, 0, 1)
        return self._read(self._files[index])

    def _read(self, file: Path) -> Tensor:
        channels = self._facts.shape[0]
        try:
            with Image.open(file, formats=FORMATS) as image:
                # Before anything is decoded: a picture of another size may be of any size.
                if not self._fit:
                    self._require(file, (channels, image.height, image.width))
                pixels = np.array(self._fitted(image.convert("L" if channels == 1 else "RGB")))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ConfigError(f"{file}: not a readable image ({error}); remove it") from error
        return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)

    def _fitted(self, image: Image.Image) -> Image.Image:
        width, height = self._facts.shape[2], self._facts.shape[1]
        if image.size == (width, height):
            return image
        self.fitted += 1
        return ImageOps.fit(ImageOps.exif_transpose(image), (width, height), Image.Resampling.BICUBIC)

    def _require(self, place: Path, shape: tuple[int, ...]) -> None:
        if shape != self._facts.shape:
            raise ConfigError(f"{place}: has channels, height and width {shape}, the run's data {self._facts.shape}")


def _array(path: Path, require: Callable[[Path, tuple[int, ...]], None]) -> np.ndarray:
    """`images` of an .npz; nothing is unpacked before its header and its size have been looked at."""
    try:
        shape, dtype, size = _announced(path)
        if dtype != np.uint8 or len(shape) != 4:
            raise ConfigError(f"{path}: `images` should be uint8 (N, H, W, C), is {dtype} {shape}")
        require(path, (shape[3], *shape[1:3]))
        if size > max(HARMLESS, DENSEST * path.stat().st_size):
            raise ConfigError(f"{path}: unpacks to {size:,} bytes, like a decompression bomb; save it uncompressed")
        if math.prod(shape) > size:
            raise ConfigError(f"{path}: is damaged: its header says {shape}, but it holds {size:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["images"]
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError, zlib.error, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: not an .npz with `images` uint8 (N, H, W, C) ({error})") from error


def _announced(path: Path) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and bytes that `images` of an .npz says it has."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("images.npy")
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
    return shape, dtype, entry.file_size
