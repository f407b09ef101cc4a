"""A file from elsewhere to a path here: whole, checked, and told of while it comes."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gandist.data.cache import shown_size
from gandist.data.remote import Came, Remote, sha256
from gandist.errors import ConfigError

SUMS = "SHA256SUMS"
"""A file beside others with their SHA-256, as `sha256sum` writes it; NAME.sha256 serves a single one."""
TELLING = 5.0
"""Seconds between two reports of how far it is."""
_LINE = re.compile(rb"^([0-9a-fA-F]{64})(?:[ \t]+\*?(?:\./)?(.+?))?\r?$", re.MULTILINE)

Told = Callable[[str], None]


def untold(text: str) -> None:
    """Hears how far it is, and keeps it to itself."""


class Progress:
    """Adds up the bytes that came, and tells of them now and then. total: bytes, 0 where nobody knows."""

    def __init__(self, total: int, told: Told = untold):
        self._total, self._told, self._came = total, told, 0
        self._lock, self._said = threading.Lock(), time.monotonic()

    def __call__(self, came: int) -> None:
        """`came` bytes more."""
        with self._lock:
            self._came += came
            now = time.monotonic()
            if now - self._said < TELLING:
                return
            self._said = now
        self._told(f"{shown_size(self._came)} of {shown_size(self._total)}" if self._total else shown_size(self._came))


class Fetcher:
    """Brings files from a server. shown: the URL for messages, which begin with `field`."""

    def __init__(self, remote: Remote, field: str, shown: str):
        self._remote, self._field, self._shown = remote, field, shown

    def bring(self, name: str, path: Path, size: int | None, sha: str | None, came: Came) -> None:
        """Brings one file to `path`; what lies there already is whole. Raises ConfigError if it is not as it should be.

        size, sha: what it should have, as far as that is known.
        """
        if path.is_file():
            came(path.stat().st_size)
            return
        part = path.with_name(f"{path.name}.part")
        at = f"{self._field}: {self._shown if self._shown.endswith(name) else f'{self._shown}/{name}'}"
        problem = ""
        # What a killed process left may be no beginning of this file: then once more from nothing.
        for _ in range(2 if part.exists() else 1):
            if not self._remote.download(name, part, came):
                raise ConfigError(f"{at} is not there; is the URL right, and the data set whole?")
            problem = _wrong(part, size, sha)
            if not problem:
                part.replace(path)
                return
            part.unlink()
        raise ConfigError(f"{at} {problem}; the copy on the server is damaged, or was changed meanwhile")

    def sums(self, name: str = "") -> dict[str, str]:
        """Name → SHA-256, as far as files beside the others say it. name: the only one that is asked for."""
        beside = {SUMS: "", **({f"{name}.sha256": name} if name else {})}
        for file, only in beside.items():
            found = {
                only or (line[2] or b"").decode(errors="replace"): line[1].decode().lower()
                for line in _LINE.finditer(self._remote.read(file) or b"")
            }
            if found and (not name or name in found):
                return found
        return {}


def _wrong(path: Path, size: int | None, sha: str | None) -> str:
    """What is wrong with a file that came, or an empty string."""
    if size is not None and path.stat().st_size != size:
        return f"came with {path.stat().st_size:,} bytes instead of {size:,}"
    if sha is not None and (real := sha256(path)) != sha.lower():
        return f"came with the SHA-256 {real}, which should be {sha.lower()}"
    return ""
