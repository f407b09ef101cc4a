"""Folders of small pictures, every one of them different."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def folder(path: Path, classes: int = 2, each: int = 6, side: int = 12) -> Path:
    """`classes` folders of `each` PNGs and JPEGs of noise."""
    noise = np.random.default_rng(0)
    for label in range(classes):
        below = path / f"class-{label}"
        below.mkdir(parents=True, exist_ok=True)
        for number in range(each):
            picture = Image.fromarray(noise.integers(0, 256, (side, side + number % 3, 3), dtype=np.uint8))
            picture.save(below / f"{number:03d}.{'png' if number % 2 else 'jpg'}", quality=95)
    return path


def contents(path: Path) -> dict[str, bytes]:
    """Name → content of every file below a folder."""
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
