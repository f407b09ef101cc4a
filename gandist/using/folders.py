"""Anybody's images as samples to score: a folder of pictures, or an .npz."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
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

    Raises ConfigError for a folder without images, a file that cannot be read, and images of another size: resizing
    would change the scores.
    """

    def __init__(self, path: Path, facts: Facts):
        self._path, self._facts = Path(path), facts
        self._array = _array(self._path, self._require) if self._path.is_file() else None
        if self._array is None and not self._path.is_dir():
            raise ConfigError(f"{path}: no such folder of images or .npz")
        self._files = sorted(f for f in self._path.glob("*") if f.suffix.lower() in ENDINGS)
        if len(self) < 2:
            raise ConfigError(f"{path}: scores need at least 2 images ({', '.join(ENDINGS)}), there are {len(self)}")

    def __len__(self) -> int:
        return len(self._files) if self._array is None else len(self._array)

    def names(self) -> list[str]:
        """Of the files, or the numbers of the images in an .npz, in the order in which they are read."""
        return [file.name for file in self._files] if self._array is None else [str(n) for n in range(len(self))]

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, len(self), _BATCH):
            if self._array is not None:
                yield torch.from_numpy(self._array[start : start + _BATCH]).permute(0, 3, 1, 2)
            else:
                yield torch.stack([self._read(file) for file in self._files[start : start + _BATCH]])

    def _read(self, file: Path) -> Tensor:
        channels = self._facts.shape[0]
        try:
            with Image.open(file, formats=FORMATS) as image:
                # Before anything is decoded: a picture of another size may be of any size.
                self._require(file, (channels, image.height, image.width))
                pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ConfigError(f"{file}: not a readable image ({error}); remove it") from error
        return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)

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
