"""Files on object storage: whole ones only, for it knows no append, no rename and no lock; every request is retried."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gandist.config.storage import require_no_credentials, shown
from gandist.errors import ConfigError

ATTEMPTS = 5
PAUSE = 0.25
"""Seconds before the second attempt; twice as many before each one more."""
_CHUNK = 4 * 2**20

T = TypeVar("T")


def tried(place: str, request: Callable[[], T], final: tuple[type[OSError], ...] = (FileNotFoundError,)) -> T:
    """What `request()` returns, tried again after an OSError that is none of the `final` ones.

    Raises OSError, which names the place, when it has failed ATTEMPTS times in a row.
    """
    for attempt in range(ATTEMPTS):
        try:
            return request()
        except final:
            raise
        except OSError as error:
            if attempt == ATTEMPTS - 1:
                raise OSError(f"{place}: {_first_line(error)}") from error
            time.sleep(PAUSE * 2**attempt)
    raise AssertionError("every attempt returns or raises")


class Objects:
    """What lies below a URL, by names relative to it ("checkpoints/step-00001000/manifest.json"), byte for byte.

    Raises ConfigError for a URL that holds credentials or that pyarrow cannot read. Everything raises OSError, which
    names the URL without its query, when the storage has failed ATTEMPTS times in a row.
    """

    def __init__(self, url: str):
        try:
            require_no_credentials(url)
        except ValueError as error:
            raise ConfigError(f"the URL {error}") from None
        self.place = shown(url)
        try:
            from pyarrow import fs

            self._files, self._root = self._tried(lambda: fs.FileSystem.from_uri(url))
        except (ImportError, NotImplementedError, ValueError) as error:
            raise ConfigError(f"{self.place}: {_first_line(error)}") from error

    def _tried(self, request: Callable[[], T]) -> T:
        return tried(self.place, request)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def list(self, under: str = "") -> dict[str, int]:
        """Name → size of all files below `under`."""
        return {name: size for name, (size, _) in self.describe(under).items()}

    def describe(self, under: str = "") -> dict[str, tuple[int, str]]:
        """Name → size and time of change of all files below `under`."""
        from pyarrow import fs

        selector = fs.FileSelector(self._path(under), recursive=True, allow_not_found=True)
        found = self._tried(lambda: self._files.get_file_info(selector))
        return {info.path[len(self._root) + 1 :]: _described(info) for info in found if info.type == fs.FileType.File}

    def stat(self, name: str) -> tuple[int, str] | None:
        """Size and time of change of a file, or None if there is none."""
        from pyarrow import fs

        info = self._tried(lambda: self._files.get_file_info(self._path(name)))
        return _described(info) if info.type == fs.FileType.File else None

    def read(self, name: str) -> bytes | None:
        """The content of a small file, or None if there is none."""

        def request() -> bytes:
            with self._files.open_input_stream(self._path(name), compression=None) as stream:
                return stream.read()

        try:
            return self._tried(request)
        except FileNotFoundError:
            return None

    def part(self, name: str, start: int, length: int | None) -> bytes | None:
        """`length` bytes of a file from `start` on, fewer at its end, or all the rest; None if there is no file."""

        def request() -> bytes:
            with self._files.open_input_file(self._path(name)) as file:
                return file.read_at(file.size() - start if length is None else length, start)

        try:
            return self._tried(request)
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Writes a small file."""

        def request() -> None:
            with self._new(name) as stream:
                stream.write(content)

        self._tried(request)

    def download(self, name: str, path: Path, came: Callable[[int], None] = lambda size: None) -> bool:
        """Copies a file to `path`; False if there is none. came: told of every so many bytes."""

        def request() -> None:
            with self._files.open_input_stream(self._path(name), compression=None) as stream, path.open("wb") as file:
                while chunk := stream.read(_CHUNK):
                    file.write(chunk)
                    came(len(chunk))

        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._tried(request)
        except FileNotFoundError:
            path.unlink(missing_ok=True)
            return False
        return True

    def upload(self, path: Path, name: str) -> None:
        """Copies the file at `path` there."""

        def request() -> None:
            with path.open("rb") as file, self._new(name) as stream:
                shutil.copyfileobj(file, stream, _CHUNK)

        self._tried(request)

    def _new(self, name: str) -> Any:
        if self._files.type_name == "local":
            # Only these folders must be made before there is something in them.
            self._files.create_dir(self._path(name).rpartition("/")[0])
        return self._files.open_output_stream(self._path(name), compression=None)

    def copy(self, name: str, other: Objects) -> None:
        """Copies a file to the same name below another URL of the same bucket, without bringing it here."""

        def request() -> None:
            if self._files.type_name == "local":
                self._files.create_dir(other._path(name).rpartition("/")[0])
            self._files.copy_file(self._path(name), other._path(name))

        self._tried(request)

    def delete(self, name: str) -> None:
        """Deletes a file, if it is there."""

        def request() -> None:
            self._files.delete_file(self._path(name))

        try:
            self._tried(request)
        except FileNotFoundError:
            return

    def delete_folder(self, name: str = "") -> None:
        """Deletes everything below `name`."""

        def request() -> None:
            self._files.delete_dir(self._path(name))

        try:
            self._tried(request)
        except FileNotFoundError:
            return


def _described(info: Any) -> tuple[int, str]:
    return info.size, str(info.mtime_ns or "")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
