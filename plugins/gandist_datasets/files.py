"""Files of public data sets: found in a folder, or downloaded there once, checked, whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit
from urllib.request import Request, urlopen

from pydantic import AfterValidator

from gandist import ConfigError

log = logging.getLogger("gandist.datasets")

CHUNK = 1 << 20
TIMEOUT = 8.0
"""Seconds without a byte before a server is given up."""
ATTEMPTS = 3
"""Connections to one server, each going on where the last one broke off."""


def _plain_server(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"should begin with http:// or https://, is {url!r}")
    if "@" in parts.netloc:
        raise ValueError("holds a user or password, which would stand in config.yaml; fetch the file and set root")
    return url


Server = Annotated[str, AfterValidator(_plain_server)]
"""A base URL to download from, without secrets in it."""


@dataclass(frozen=True)
class Remote:
    """A file as its publishers have it."""

    name: str
    sha256: str


class _RefusedError(Exception):
    """A server that does not have the file as it should be; the text says why."""


def download(remote: Remote, folder: Path, servers: Sequence[str]) -> Path:
    """The path of `remote` in `folder`, fetched from the first of the servers (base URLs) that has it.

    Processes that ask for one file at once wait for the first of them. Raises ConfigError that names the URLs, the
    folder and the way out if no server has the file, or if the folder cannot be written.
    """
    target = folder / remote.name
    if target.is_file():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f".{remote.name}.lock"):
            # Another process may have fetched it while this one waited.
            return target if target.is_file() else _from_any(remote, target, servers)
    except OSError as error:
        raise ConfigError(
            f"dataset.root: cannot write {target}: {error.strerror or error}; set GANDIST_CACHE to a folder that can "
            f"be written, or dataset.root to one that holds {remote.name}"
        ) from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        # Released by the system however this process ends.
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _from_any(remote: Remote, target: Path, servers: Sequence[str]) -> Path:
    part = target.with_name(f"{target.name}.part")
    problems = []
    for server in servers:
        url = urljoin(server if server.endswith("/") else f"{server}/", remote.name)
        log.info("downloading %s to %s", url, target)
        try:
            _fetch_checked(url, part, remote)
        except _RefusedError as problem:
            problems.append(f"{url}: {problem}")
            continue
        part.replace(target)
        return target
    raise ConfigError(
        f"dataset.root: cannot download {remote.name} to {target.parent}\n  "
        + "\n  ".join(problems)
        + "\n  without a connection, put the file into a folder yourself and set dataset.root to that folder; "
        "another server can be given as dataset.url"
    )


def _fetch_checked(url: str, part: Path, remote: Remote) -> None:
    """Fills `part` with the whole file. Raises _RefusedError."""
    # What an earlier attempt left may be no beginning of this file: then once more from nothing.
    for _ in range(2 if part.exists() else 1):
        _fetch(url, part)
        if _matches(part, remote):
            return
        part.unlink()
    raise _RefusedError(f"what came does not have the SHA-256 {remote.sha256}")


def _fetch(url: str, part: Path) -> None:
    """Fills `part`, going on from what it holds. Raises _RefusedError."""
    problem = "nothing came"
    for _ in range(ATTEMPTS):
        have = part.stat().st_size if part.exists() else 0
        try:
            expected = _append(url, part, have)
        except HTTPError as error:
            if error.code == 416 and have:
                # There is nothing behind what `part` holds: it is whole, or not the beginning of this file.
                return
            raise _RefusedError(f"HTTP {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = f"{getattr(error, 'reason', None) or error}"
            if not part.exists() or part.stat().st_size == have:
                break
            continue
        have = part.stat().st_size
        if expected is None or have >= expected:
            return
        problem = f"ended after {have:,} of {expected:,} bytes"
    raise _RefusedError(problem)


def _append(url: str, part: Path, have: int) -> int | None:
    """Writes what the server sends behind the `have` bytes of `part`; the whole length that it promised, if any."""
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urlopen(request, timeout=TIMEOUT) as response:
        # A server that ignores the range sends the whole file again.
        if response.status != 206:
            have = 0
        length = response.headers.get("Content-Length")
        with part.open("ab" if have else "wb") as out:
            while chunk := response.read(CHUNK):
                out.write(chunk)
    return have + int(length) if length else None


def _matches(part: Path, remote: Remote) -> bool:
    with part.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest() == remote.sha256
