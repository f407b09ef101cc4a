"""Archives of files: what is in them, and unpacking that leads nowhere else and fills no disk."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from gandist.errors import ConfigError

ZIP = (".zip",)
TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DENSEST = 50
"""An archive may unpack to at most this many times its size, or to HARMLESS bytes."""
HARMLESS = 64 * 2**20
_PIECE = 2**20
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


def is_archive(path: str) -> bool:
    """Whether a path or the path of a URL ends as an archive does."""
    return path.lower().endswith((*ZIP, *TAR))


class ByParts(io.RawIOBase):
    """A file of `size` bytes that is read in parts: `read(start, length)` gives one."""

    def __init__(self, size: int, read: Callable[[int, int], bytes]):
        super().__init__()
        self._size, self._read, self._at = size, read, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """See io.RawIOBase."""
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        """See io.RawIOBase."""
        return self._at

    def readinto(self, buffer) -> int:
        """See io.RawIOBase."""
        view = memoryview(buffer).cast("B")
        length = min(len(view), self._size - self._at)
        if length <= 0:
            return 0
        content = self._read(self._at, length)
        view[: len(content)] = content
        self._at += len(content)
        return len(content)


def zip_sizes(archive: zipfile.ZipFile, shown: str) -> dict[str, int]:
    """Name → size of the files in it. Raises ConfigError for what no honest archive holds."""
    found = {entry.filename: entry.file_size for entry in archive.infolist() if not entry.is_dir()}
    for name in found:
        require_inside(name, shown)
    _require_honest(sum(found.values()), sum(entry.compress_size for entry in archive.infolist()), shown)
    return found


def unpack(path: Path, folder: Path, name: str, shown: str) -> None:
    """Unpacks an archive called `name` into a folder: plain files below it, and nothing else.

    Raises ConfigError for a name that leads out, a damaged archive, and one that unpacks to far more than it is.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        (_unzip if name.lower().endswith(ZIP) else _untar)(path, folder, shown)
    except _BROKEN as error:
        raise ConfigError(f"{shown} is damaged: {error}; make it anew") from None


def _unzip(path: Path, folder: Path, shown: str) -> None:
    with zipfile.ZipFile(path) as archive:
        left = sum(zip_sizes(archive, shown).values())
        for entry in archive.infolist():
            if not entry.is_dir():
                with archive.open(entry) as content:
                    left -= _write(content, folder / entry.filename, left, shown)


def _untar(path: Path, folder: Path, shown: str) -> None:
    left = max(HARMLESS, DENSEST * path.stat().st_size)
    with tarfile.open(path) as archive:
        for member in archive:
            require_inside(member.name, shown)
            # Folders come with their files; links and devices are nobody's images.
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                left -= _write(content, folder / member.name, left, shown)


def _write(content, path: Path, most: int, shown: str) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with path.open("wb") as out:
        while piece := content.read(_PIECE):
            written += len(piece)
            if written > most:
                raise ConfigError(f"{shown} unpacks to far more than it says, like a decompression bomb")
            out.write(piece)
    return written


def require_inside(name: str, shown: str) -> None:
    """Raises ConfigError for a name that would lead out of the folder it is unpacked to."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not name or "\0" in name:
        raise ConfigError(f"{shown} holds {name!r}, which leads out of it; do not use it")


def _require_honest(unpacked: int, packed: int, shown: str) -> None:
    if unpacked > max(HARMLESS, DENSEST * packed):
        raise ConfigError(f"{shown} unpacks to far more than a data set holds, like a decompression bomb")
