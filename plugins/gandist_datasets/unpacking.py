"""Compressed files, unpacked no further than what can be in them: a small file may stand for terabytes."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

HARMLESS = 64 * 2**20
"""Bytes that any file may unpack to."""
DENSEST = 50
"""A larger result may be at most this many times its file: digits are packed to a fifth, a bomb to a thousandth."""


class Unpacked(io.RawIOBase):
    """A gzip file as a stream of its content. Reading raises OSError where it becomes more than it can honestly be.

    most: bytes of content that are expected at most; by default what the file's own size allows.
    """

    def __init__(self, path: Path, most: int | None = None):
        super().__init__()
        self._most = max(HARMLESS, DENSEST * path.stat().st_size) if most is None else most
        self._file = gzip.open(path)  # noqa: SIM115  (closed with this stream)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer) -> int:
        """See io.RawIOBase."""
        view = memoryview(buffer).cast("B")
        content = self._file.read(min(len(view), 2**20))
        self._most -= len(content)
        if self._most < 0:
            raise OSError("it unpacks to far more than a data set holds, like a decompression bomb")
        view[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Closes the file too."""
        self._file.close()
        super().close()
