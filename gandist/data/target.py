"""Where files are written to: a folder, or one in a bucket."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from gandist.data.remote import Bucket
from gandist.errors import ConfigError


class Target:
    """A folder on this machine, or a bucket's. Everything raises OSError where it cannot be reached."""

    def __init__(self, folder: Path | Bucket):
        self._folder = folder

    def names(self) -> list[str]:
        """What lies there; empty if there is no such folder. A bucket's names go below folders."""
        if isinstance(self._folder, Bucket):
            return sorted(self._folder.list())
        return sorted(path.name for path in self._folder.iterdir()) if self._folder.is_dir() else []

    def scratch(self) -> Path | None:
        """The folder itself, made if need be, for what is moved into it later; None for a bucket."""
        if isinstance(self._folder, Bucket):
            return None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot make {self._folder}: {error.strerror or error}; give another folder") from None
        return self._folder

    def put(self, path: Path, name: str) -> None:
        """Moves a file there, whole or not at all."""
        if isinstance(self._folder, Bucket):
            self._folder.upload(path, name)
            path.unlink()
            return
        # Beside it first: `path` may lie on another disk.
        part = self._folder / f".{name}.part"
        shutil.move(path, part)
        part.replace(self._folder / name)

    def remove(self, names: Sequence[str]) -> None:
        """Deletes files that `put` has put there, and the folder if it is empty then."""
        for name in names:
            if isinstance(self._folder, Bucket):
                self._folder.delete(name)
            else:
                (self._folder / name).unlink(missing_ok=True)
        if not isinstance(self._folder, Bucket) and not self.names():
            self._folder.rmdir()
