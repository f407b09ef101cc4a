"""Local folders in which processes work whose run lies on object storage."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX, _LOCK = "gandist-staging-", ".lock"
_YOUNG = 10.0
"""Seconds in which a folder may have a lock file and no lock yet."""


@contextmanager
def staging() -> Iterator[Path]:
    """A fresh folder of this process, gone at the end. Those that killed processes left behind are removed first."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        _remove_if_left(left)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    with (folder / _LOCK).open("w") as lock:
        # The kernel gives it back when this process dies, however that happens.
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    # OSError: in use, or another user's.
    with suppress(OSError), (folder / _LOCK).open("r+") as lock:
        if time.time() - folder.stat().st_mtime < _YOUNG:
            return
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
