"""The cache of a node: filled once for all its processes, whole or not at all, and never above its limit.

data/KEY/content       a file or a folder, there as soon as it is whole
data/KEY/entry.json    its size, and the group that uses it; its time of change is that of the last use
data/KEY.part/         the same while it is being filled
data/.locks/KEY        held by the process that fills it
data/.locks/GROUP.use  held, shared, by those that read what is in the group; nothing of it is evicted meanwhile
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gandist.errors import ConfigError

LIMIT = "GANDIST_CACHE_LIMIT"
SPARED = 0.1
"""Share of the disk that is left free where no limit is set."""
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_CONTENT, _ENTRY, _PART, _LOCKS = "content", "entry.json", ".part", ".locks"

Fill = Callable[[Path], None]
"""Writes the content to a path, a file or a folder, where a killed process may have left a part of it."""


class NoRoomError(Exception):
    """The cache cannot take that much more. Its text says why and what to do."""


def cache_folder() -> Path:
    """$GANDIST_CACHE, else $XDG_CACHE_HOME/gandist, else ~/.cache/gandist."""
    if own := os.environ.get("GANDIST_CACHE"):
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "gandist"


def parse_size(text: str) -> int:
    """Bytes of "200G" (10⁹), "256MiB" (2²⁰) or a plain number. Raises ValueError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]I?)?B?\s*", text.upper())
    if found is None or not float(found[1]):
        raise ValueError(f"{text!r} is no size; write e.g. 256M, 1.5G or 4GiB")
    return int(float(found[1]) * _UNITS[found[2] or ""])


def shown_size(size: float) -> str:
    """For a person to read: "3.2 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


@dataclass(frozen=True)
class _Entry:
    folder: Path
    size: int
    group: str
    used: float


class Held:
    """Says that this process uses a group, until it is closed, forgotten, or the process ends, however it ends."""

    def __init__(self, file: IO[Any]):
        self._let_go = weakref.finalize(self, file.close)

    def close(self) -> None:
        """Lets go."""
        self._let_go()


class Cache:
    """The cache below a folder. limit: bytes of all entries together; None goes by $GANDIST_CACHE_LIMIT, else by the
    disk, of which a tenth is left free."""

    def __init__(self, folder: Path | None = None, limit: int | None = None):
        self.folder = (folder or cache_folder()) / "data"
        self._limit = limit

    def path(self, key: str) -> Path:
        """Where the content of an entry lies, or will lie."""
        return self.folder / key / _CONTENT

    def use(self, group: str) -> Held:
        """Keeps everything of a group from being evicted."""
        file = self._lock_file(f"{group}.use")
        fcntl.flock(file, fcntl.LOCK_SH)
        return Held(file)

    def find(self, key: str) -> Path | None:
        """The content of an entry, if it is there; counts as a use."""
        try:
            os.utime(self.folder / key / _ENTRY)
        except OSError:
            return None
        return self.path(key)

    def get(self, key: str, group: str, size: int | None, fill: Fill, what: str, wait: bool = True) -> Path | None:
        """The content of an entry, filled first if it is not there; of many processes one fills, the others wait.

        The caller `use`s the group. size: bytes, as far as known. what: the data, for messages. wait: False gives None
        where another process fills it. Raises NoRoomError, and whatever `fill` raises.
        """
        if (found := self.find(key)) is not None:
            return found
        with self._alone(key, wait) as mine:
            if not mine:
                return None
            # Another process may have filled it meanwhile.
            return self.find(key) or self._filled(key, group, size, fill, what)

    def _filled(self, key: str, group: str, size: int | None, fill: Fill, what: str) -> Path:
        part = self.folder / f"{key}{_PART}"
        part.mkdir(parents=True, exist_ok=True)
        self._make_room(part, group, size or 0, what)
        content = part / _CONTENT
        fill(content)
        real = _measured(content)
        if real != size:
            self._make_room(part, group, real, what)
        part.replace(self.folder / key)
        return self.path(key)

    def _make_room(self, part: Path, group: str, size: int, what: str) -> None:
        """Reserves `size` bytes for a part by evicting what was used longest ago. Raises NoRoomError."""
        with self._alone("room") as _:
            others = [entry for entry in self._entries() if entry.folder != part]
            held = sum(entry.size for entry in others)
            limit = self._most(held + _measured(part))
            for entry in sorted(others, key=lambda entry: entry.used):
                # For what can never fit nothing needs to go.
                if held + size <= limit or size > limit:
                    break
                # Of one group every entry is as likely to be read next as the other.
                if entry.group != group and self._evicted(entry):
                    held -= entry.size
            if held + size > limit:
                # What a caller without room does not fill would count for ever.
                shutil.rmtree(part, ignore_errors=True)
                raise NoRoomError(self._no_room(what, size, held, limit))
            (part / _ENTRY).write_text(json.dumps({"size": size, "group": group, "what": what}))

    def _no_room(self, what: str, size: int, held: int, limit: int) -> str:
        given = os.environ.get(LIMIT)
        says = f"{LIMIT}={given}" if given else f"what is free, less {SPARED:.0%} of the disk"
        used = f", of which {shown_size(held)} are in use" if held else ""
        return (
            f"{what} has {shown_size(size)}; the cache {self.folder} holds at most {shown_size(limit)} ({says}){used}; "
            f"raise {LIMIT}, set GANDIST_CACHE to a larger disk, or pack the data into shards, which need not fit"
        )

    def _most(self, held: int) -> int:
        disk = shutil.disk_usage(self.folder)
        there = max(0, held + disk.free)
        if self._limit is not None:
            return min(self._limit, there)
        if text := os.environ.get(LIMIT):
            try:
                return min(parse_size(text), there)
            except ValueError as error:
                raise ConfigError(f"{LIMIT}: {error}") from None
        return max(0, there - int(SPARED * disk.total))

    def _entries(self) -> list[_Entry]:
        found = []
        for folder in self.folder.iterdir():
            try:
                about = folder / _ENTRY
                entry = json.loads(about.read_text())
                found.append(_Entry(folder, int(entry["size"]), str(entry["group"]), about.stat().st_mtime))
            except (OSError, ValueError, KeyError, TypeError):
                # Locks, and what was being deleted when its process was killed.
                if folder.name.startswith(".gone-"):
                    shutil.rmtree(folder, ignore_errors=True)
        return found

    def _evicted(self, entry: _Entry) -> bool:
        """Deletes an entry, unless somebody uses or fills it."""
        name = f"{entry.group}.use" if entry.folder.suffix != _PART else entry.folder.stem
        gone = self.folder / f".gone-{secrets.token_hex(4)}"
        with self._alone(name, wait=False) as mine:
            if not mine:
                return False
            # Renamed first: a process killed in the middle must leave no half an entry.
            entry.folder.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def _lock_file(self, name: str) -> IO[Any]:
        path = self.folder / _LOCKS / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("w")
        except OSError as error:
            raise ConfigError(
                f"the cache {self.folder} cannot be written: {error.strerror or error}; set GANDIST_CACHE to a folder "
                "that can"
            ) from None

    @contextmanager
    def _alone(self, name: str, wait: bool = True) -> Iterator[bool]:
        """Holds a lock, which the system releases however this process ends. Yields False where another holds it."""
        with self._lock_file(name) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True


def _measured(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if not path.is_dir():
        return path.stat().st_size if path.exists() else 0
    total = 0
    for place, _, files in os.walk(path):
        for name in files:
            with suppress(OSError):
                total += Path(place, name).lstat().st_size
    return total
