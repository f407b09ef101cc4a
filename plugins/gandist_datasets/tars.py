"""Tars as WebDataset has them: members with one name up to the first dot belong to one sample."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gandist import ConfigError
from gandist_datasets.shard_index import Shard

SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "DIB": "bmp", "TIFF": "tif", "GIF": "gif"}
"""Format, as Pillow calls it → what the name of such a member ends with."""
BLOCK = 512
_RECORD = 10240


class Tar:
    """A tar being written: its headers hold nothing of this machine, so that the same images give the same bytes."""

    def __init__(self, path: Path):
        self.path, self._file, self._digest, self.size = path, path.open("wb"), hashlib.sha256(), 0

    def add(self, name: str, content: bytes) -> int:
        """Appends a member, and gives the first byte of its content."""
        header = tarfile.TarInfo(name)
        header.size = len(content)
        self._write(header.tobuf(tarfile.USTAR_FORMAT))
        start = self.size
        self._write(content)
        self._write(bytes(-len(content) % BLOCK))
        return start

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)
        self.size += len(content)

    def close(self) -> Shard:
        """Ends it."""
        self._write(bytes(2 * BLOCK))
        self._write(bytes(-self.size % _RECORD))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return Shard(self.path.name, self.size, self._digest.hexdigest())


@dataclass(frozen=True)
class Member:
    """An image in a tar: its sample's name, its bytes, and its label if it has one."""

    key: str
    start: int
    length: int
    label: int | None


def members(path: Path, shown: str) -> Iterator[Member]:
    """The samples of a tar with an image."""
    key, image, label = "", None, None
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.isdir():
                    continue
                _require_plain(member, shown)
                folder, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                if (new := f"{folder}/{stem}") != key:
                    if image is not None:
                        yield Member(key.lstrip("/"), image.offset_data, image.size, label)
                    key, image, label = new, None, None
                if suffix.lower() in (*SUFFIXES.values(), "jpeg", "tiff"):
                    if image is not None:
                        raise ConfigError(f"{shown}: the sample {key.lstrip('/')} has two images; leave one out")
                    image = member
                elif suffix == "cls":
                    label = _label(archive, member, shown)
            if image is not None:
                yield Member(key.lstrip("/"), image.offset_data, image.size, label)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ConfigError(f"{shown} is no whole, uncompressed tar: {error}") from None


def _require_plain(member: tarfile.TarInfo, shown: str) -> None:
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise ConfigError(f"{shown} holds {member.name!r}, which leads out of it; do not use it")
    if not member.isreg() or member.issparse():
        raise ConfigError(f"{shown} holds {member.name!r}, which is no plain file but a link, a device or the like")


def _label(archive: tarfile.TarFile, member: tarfile.TarInfo, shown: str) -> int:
    content = archive.extractfile(member)
    text = content.read(20).decode(errors="replace").strip() if content is not None else ""
    if not re.fullmatch(r"\d{1,9}", text):
        raise ConfigError(f"{shown}: {member.name} holds {text!r}; a label is a whole number from 0")
    return int(text)
