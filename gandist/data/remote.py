"""Files behind a URL: of object storage as pyarrow reads it, or of a web server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import quote, urlsplit

from gandist.config.storage import shown
from gandist.training.objects import Objects, tried

if TYPE_CHECKING:
    from requests import Response

TIMEOUT = 30.0
"""Seconds without a byte before a web server counts as dead."""
CONNECTIONS = 16
"""Connections to a server that a process keeps."""
_CHUNK = 2**18
_GONE = (404, 410)
_BUSY = (408, 429)

T = TypeVar("T")
Came = Callable[[int], None]
"""Told how many bytes came since it was told last; what it raises ends a download."""


@dataclass(frozen=True)
class Stat:
    """A file elsewhere. size: bytes, None where the server does not say. version: another one for another content."""

    size: int | None
    version: str


class NoRangesError(OSError):
    """A web server that sends whole files only."""


class Remote(Protocol):
    """What lies below a URL, by names relative to it; "" is the URL itself.

    Everything raises OSError, which names the URL without its query, when the server has failed several times in a row.
    """

    place: str

    def list(self) -> dict[str, Stat] | None:
        """Every file below the URL, or None where that cannot be asked."""
        ...

    def stat(self, name: str) -> Stat | None:
        """What is known of a file, or None if there is none."""
        ...

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes | None:
        """A part of a file, all of it by default; None if there is none. Raises NoRangesError."""
        ...

    def download(self, name: str, path: Path, came: Came) -> bool:
        """Copies a file to `path`, going on from what lies there if it can; False if there is none."""
        ...


class Bucket:
    """Object storage."""

    def __init__(self, url: str):
        self._objects = Objects(url)
        self.place = self._objects.place

    def list(self) -> dict[str, Stat]:
        """Every object below the URL."""
        return {name: Stat(size, changed) for name, (size, changed) in self._objects.describe().items()}

    def stat(self, name: str) -> Stat | None:
        """Size and time of change of an object."""
        found = self._objects.stat(name)
        return None if found is None else Stat(*found)

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes | None:
        """A part of an object."""
        return self._objects.read(name) if length is None and not start else self._objects.part(name, start, length)

    def download(self, name: str, path: Path, came: Came) -> bool:
        """Copies an object."""
        return self._objects.download(name, path, came)

    def upload(self, path: Path, name: str) -> None:
        """Copies a file there."""
        self._objects.upload(path, name)

    def delete(self, name: str) -> None:
        """Deletes an object, if it is there."""
        self._objects.delete(name)


class Web:
    """A web server, found through the proxies of the environment, with the user and password of ~/.netrc if any."""

    def __init__(self, url: str):
        from requests import Session
        from requests.adapters import HTTPAdapter

        self._parts = urlsplit(url)
        self.place = shown(url)
        # Connections are kept: samples are asked for one by one, and each would begin with a handshake.
        self._session = Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))

    def _url(self, name: str) -> str:
        path = f"{self._parts.path.rstrip('/')}/{quote(name)}" if name else self._parts.path
        return self._parts._replace(path=path, fragment="").geturl()

    def _once(self, name: str, use: Callable[[Response], T], method: str = "GET", **headers: str) -> T:
        """What `use` makes of the answer to one request. Raises FileNotFoundError, or PermissionError for a refusal."""
        from requests import RequestException
        from urllib3.exceptions import HTTPError

        asked = {"User-Agent": "gandist", "Accept-Encoding": "identity", **headers}
        try:
            with self._session.request(method, self._url(name), headers=asked, stream=True, timeout=TIMEOUT) as answer:
                if answer.status_code in _GONE:
                    raise FileNotFoundError(name)
                if not answer.ok:
                    kind = OSError if answer.status_code >= 500 or answer.status_code in _BUSY else PermissionError
                    raise kind(f"HTTP {answer.status_code} {answer.reason}")
                return use(answer)
        except (RequestException, HTTPError) as error:
            raise OSError(_reason(error)) from None

    def _tried(self, name: str, request: Callable[[], T]) -> T | None:
        """What the request gives, after several attempts if need be; None if there is no such file."""
        place = f"{self.place}/{name}" if name else self.place
        try:
            return tried(place, request, (FileNotFoundError, PermissionError, NoRangesError))
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise PermissionError(f"{place}: {error}") from None

    def list(self) -> None:
        """No web server can be asked for that."""

    def stat(self, name: str) -> Stat | None:
        """Length, and ETag or time of change."""

        def about(answer: Response) -> Stat:
            length, headers = answer.headers.get("Content-Length"), answer.headers
            version = headers.get("ETag") or headers.get("Last-Modified") or ""
            return Stat(int(length) if length else None, version)

        return self._tried(name, lambda: self._once(name, about, "HEAD"))

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes | None:
        """A part of a file."""
        if not start and length is None:
            return self._tried(name, lambda: self._once(name, _whole))
        stop = "" if length is None else str(start + length - 1)

        def part(answer: Response) -> bytes:
            if answer.status_code != 206:
                raise NoRangesError("sends whole files only")
            return _whole(answer)

        return self._tried(name, lambda: self._once(name, part, Range=f"bytes={start}-{stop}"))

    def download(self, name: str, path: Path, came: Came) -> bool:
        """Copies a file, from where an earlier attempt broke off if the server knows ranges."""

        def copy(answer: Response) -> bool:
            # A server that knows no ranges sends the whole file again.
            begun = path.stat().st_size if answer.status_code == 206 else 0
            with path.open("ab" if begun else "wb") as out:
                while chunk := answer.raw.read(_CHUNK, decode_content=False):
                    out.write(chunk)
                    came(len(chunk))
            _require_whole(answer, path.stat().st_size - begun)
            return True

        def attempt() -> bool:
            have = path.stat().st_size if path.exists() else 0
            try:
                return self._once(name, copy, **({"Range": f"bytes={have}-"} if have else {}))
            except PermissionError:
                if not have:
                    raise
                # HTTP 416: nothing is behind what lies here, which is whole, or not the beginning of this file.
                path.unlink()
                return self._once(name, copy)

        path.parent.mkdir(parents=True, exist_ok=True)
        return self._tried(name, attempt) is not None


def _reason(error: BaseException) -> str:
    """The innermost cause, without the URL, whose query the outer ones repeat."""
    while isinstance(inner := getattr(error, "reason", None) or (error.args or (None,))[0], BaseException):
        error = inner
    # "HTTPConnection(host=…, port=…): Failed to establish a new connection: …"
    said = str(error)
    return said.rpartition("): ")[2] or said or type(error).__name__


def _whole(answer: Response) -> bytes:
    content = answer.raw.read(decode_content=False)
    _require_whole(answer, len(content))
    return content


def _require_whole(answer: Response, came: int) -> None:
    length = answer.headers.get("Content-Length")
    if length and came < int(length):
        raise OSError(f"ended after {came:,} of {int(length):,} bytes")


def remote(url: str) -> Remote:
    """The files behind a URL. Raises ConfigError where nothing here reads such URLs."""
    return Web(url) if urlsplit(url).scheme in ("http", "https") else Bucket(url.partition("#")[0])


def sha256(path: Path) -> str:
    """Of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
