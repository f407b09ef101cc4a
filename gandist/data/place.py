"""Where the files of a data set lie: a folder, or a URL whose files come into the cache of a node."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gandist.config.storage import is_url, require_no_credentials, shown
from gandist.data.archives import is_archive
from gandist.data.cache import Cache, Fill, Held, NoRoomError
from gandist.data.distant import DistantArchive
from gandist.data.fetching import SUMS, Fetcher, Progress, Told, untold
from gandist.data.parts import Known, Part, Parts
from gandist.data.remote import Bucket, Remote, remote
from gandist.data.target import Target
from gandist.errors import ConfigError

AT_ONCE = 16
"""Files that are fetched at the same time."""


class Place:
    """A folder, or a URL: of a folder on object storage or a web server, or of a .zip or .tar archive.

    What comes from a URL is kept in the cache of the node, which all its processes share: fetched once, checked by size
    and by SHA-256 where there is one, and evicted when room is needed and nobody uses it. Can be sent to other
    processes. Methods raise ConfigError, which begins with `field`, for what a user can mend, and OSError for a server
    that fails several times in a row.
    """

    def __init__(self, root: str, field: str = "dataset.root"):
        self.field, self.is_url = field, is_url(root)
        self._root, self._key = root, ""
        self._sizes: dict[str, int] | None = None
        self._forget()
        if not self.is_url:
            return
        url, _, fragment = root.partition("#")
        self._sum = parse_qs(fragment).get("sha256", [None])[0]
        parts = urlsplit(url)
        above, _, last = parts.path.rpartition("/")
        self._archive = last if is_archive(last) else ""
        self._url = parts._replace(path=above).geturl() if self._archive else url
        self._group = f"{_slug(last or above or parts.netloc)}-{_digest(url)}"

    def _forget(self) -> None:
        """What belongs to one process."""
        self._behind: Remote | None = None
        self._held: Held | None = None
        self._behind_archive: DistantArchive | None = None
        self._parts: Parts | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Without the list of files, which may be long; who needs it asks again.
        gone = ("_behind", "_held", "_behind_archive", "_parts", "_sizes")
        return {**self.__dict__, **dict.fromkeys(gone)}

    def __str__(self) -> str:
        return shown(self._root) if self.is_url else self._root

    @staticmethod
    def root(text: str) -> str:
        """A root as a config keeps it: an absolute path, or a URL. Raises ValueError for a URL that cannot be used."""
        if not is_url(text):
            return str(Path(text).expanduser().absolute())
        require_no_credentials(text)
        fragment = urlsplit(text).fragment
        if fragment and not re.fullmatch(r"sha256=[0-9a-fA-F]{64}", fragment):
            raise ValueError("should end in #sha256= and 64 hexadecimal digits, or have no # at all")
        if fragment and not is_archive(urlsplit(text).path):
            raise ValueError("has a SHA-256, but is not the URL of an archive; put a SHA256SUMS file into the folder")
        return text

    @property
    def is_archive(self) -> bool:
        """Whether it is the URL of an archive."""
        return self.is_url and bool(self._archive)

    @property
    def _remote(self) -> Remote:
        if self._behind is None:
            try:
                self._behind = remote(self._url)
            except ConfigError as error:
                raise ConfigError(f"{self.field}: {error}") from None
        return self._behind

    @property
    def _distant(self) -> DistantArchive:
        if self._behind_archive is None:
            self._behind_archive = DistantArchive(self._remote, self._archive, self._sum, self.field, str(self))
        return self._behind_archive

    @property
    def _fetcher(self) -> Fetcher:
        return Fetcher(self._remote, self.field, str(self))

    def sizes(self) -> dict[str, int]:
        """Name → size of every file behind a URL, without fetching them (a .tar of at most 1 GiB excepted)."""
        if self._sizes is None:
            self._sizes = self._archive_sizes() if self._archive else self._folder_sizes()
        return self._sizes

    @property
    def total(self) -> int:
        """Bytes that `fetch` brings to a node that has nothing yet; 0 for a folder."""
        return sum(self.sizes().values()) if self.is_url else 0

    @property
    def folder(self) -> Path:
        """Where the files lie as soon as `fetch` has been here."""
        if not self.is_url:
            return Path(self._root)
        if not self._key:
            self.sizes()
        return Cache().path(self._key)

    def fetch(self, told: Told = untold) -> Path:
        """Brings all files to this node, unless they are here, and keeps them as long as this object lives.

        told: hears how far it is, every few seconds.
        """
        if not self.is_url:
            return Path(self._root)
        if not self._archive:
            return self._all(self.total, lambda path: self._fill_folder(path, told))
        # While an archive is unpacked it lies there too.
        size = self.total + (self._distant.about().size or 0)
        return self._all(size, lambda path: self._distant.unpack(path, told))

    def file(self, name: str) -> Path | None:
        """One file, on this node; None if there is none."""
        if not self.is_url:
            path = Path(self._root, name)
            return path if path.is_file() else None
        if self._archive:
            return next((path for path in sorted(self.fetch().rglob(Path(name).name)) if path.is_file()), None)
        found = self._remote.stat(name)
        if found is None:
            return None
        try:
            return self._copy(name, found.size, self._fetcher.sums().get(name), found.version)
        except NoRoomError as error:
            raise ConfigError(f"{self.field}: {error}") from None

    def parts(self, known: Known, wanted: Sequence[Part], keep: bool = True) -> list[bytes]:
        """Parts (name, start, length) of large files in this folder, read again and again in no order.

        Of files behind a URL this node keeps what its cache takes, fetched in the background; parts of the others are
        asked for one by one. known: name → bytes and SHA-256 of each file. keep: False fetches nothing ahead.
        """
        if self._parts is None:

            def here(name: str) -> Path | None:
                if not self.is_url:
                    return Path(self._root, name)
                self._use()
                return Cache().find(self._key_of(name, *known[name], ""))

            def bring(name: str, wait: bool, came: Callable[[int], None]) -> Path | None:
                return self._copy(name, *known[name], wait=wait, came=came)

            self._parts = Parts(here, bring, self.read)
        try:
            return self._parts.read(wanted, keep)
        except NoRoomError as error:
            raise ConfigError(f"{self.field}: {error}; the server would need to know ranges for that") from None

    def _copy(
        self,
        name: str,
        size: int | None,
        sha: str | None,
        version: str = "",
        wait: bool = True,
        came: Callable[[int], None] | None = None,
    ) -> Path | None:
        """A file of a folder behind a URL, on this node; None where another process fetches it and wait is False."""
        key = self._key_of(name, size, sha, version)

        def fill(path: Path) -> None:
            self._fetcher.bring(name, path, size, sha, came or Progress(size or 0))

        return self._cached(key, size, fill, name, wait)

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes | None:
        """A file, or a part of it, without keeping it; None if there is none. Raises NoRangesError."""
        path = None if self.is_url and not self._archive else self.folder / name
        if path is not None and path.is_file():
            with path.open("rb") as file:
                file.seek(start)
                return file.read() if length is None else file.read(length)
        if not self.is_url:
            return None
        if not self._archive:
            return self._remote.read(name, start, length)
        return self._distant.read(name, start, length)

    @property
    def target(self) -> Target:
        """It, to write to. Raises ConfigError for a web server and for an archive."""
        if not self.is_url:
            return Target(Path(self._root))
        if self._archive or not isinstance(self._remote, Bucket):
            raise ConfigError(f"{self.field}: {self} cannot be written; give a folder or a bucket (s3://, gs://)")
        return Target(self._remote)

    def fetch_to(self, name: str, folder: Path) -> Path:
        """Copies a file from behind a URL into a folder of the caller's, past the cache."""
        path = folder / name
        self._fetcher.bring(name, path, None, None, Progress(0))
        return path

    def _use(self) -> None:
        if self._held is None:
            self._held = Cache().use(self._group)

    def _cached(self, key: str, size: int | None, fill: Fill, name: str = "", wait: bool = True) -> Path | None:
        self._use()
        return Cache().get(key, self._group, size, fill, f"{self}/{name}" if name else str(self), wait)

    def _all(self, size: int | None, fill: Fill) -> Path:
        try:
            found = self._cached(self._key, size, fill)
        except NoRoomError as error:
            raise ConfigError(f"{self.field}: {error}") from None
        assert found is not None
        return found

    def _key_of(self, name: str, size: int | None, sha: str | None, version: str) -> str:
        return f"{_slug(name)}-{_digest(self._url, name, size, sha, version)}"

    def _folder_sizes(self) -> dict[str, int]:
        found = self._remote.list()
        if found is None:
            raise ConfigError(
                f"{self.field}: a web server cannot be asked what lies below {self}; give the URL of an archive (.zip, "
                ".tar, .tar.gz), of a bucket (s3://, gs://), or of shards that `gandist pack` wrote"
            )
        # Some tools keep an empty object for each folder.
        found = {name: stat for name, stat in sorted(found.items()) if not name.endswith("/")}
        if not found:
            raise ConfigError(f"{self.field}: there is nothing below {self}; is the URL right?")
        self._key = f"{self._group}-{_digest(*found.items())}"
        return {name: stat.size or 0 for name, stat in found.items()}

    def _archive_sizes(self) -> dict[str, int]:
        archive = self._distant
        stat = archive.about()
        # Its own name is for the file as it came.
        self._key = self._key_of(f"{self._archive}/", stat.size, self._sum, stat.version)
        if (sizes := archive.sizes()) is not None:
            return sizes
        folder = self._all(None, lambda path: archive.unpack(path, untold))
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.stat().st_size for path in files}

    def _fill_folder(self, path: Path, told: Told) -> None:
        sizes, progress, fetcher = self.sizes(), Progress(self.total, told), self._fetcher
        sums = fetcher.sums() if SUMS in sizes else {}

        def one(name: str) -> None:
            if ".." in Path(name).parts or name.startswith("/"):
                raise ConfigError(f"{self.field}: {self} holds {name!r}, which leads out of it; do not use it")
            fetcher.bring(name, path / name, sizes[name], sums.get(name), progress)

        path.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(one, sizes))


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[-60:] or "data"


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
