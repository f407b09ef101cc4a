"""An archive on a server: listed and read without fetching it where that can be, else fetched and unpacked."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from gandist.data.archives import ZIP, ByParts, unpack, zip_sizes
from gandist.data.cache import shown_size
from gandist.data.fetching import Fetcher, Progress, Told
from gandist.data.remote import NoRangesError, Remote, Stat
from gandist.errors import ConfigError

MOST_BLIND = 2**30
"""Bytes of an archive that must be fetched before anything is known of it, also by `gandist check`."""


class DistantArchive:
    """The archive `name` on a server. sha: its SHA-256, if the user gave it. shown: its URL, for messages.

    Raises ConfigError, which begins with `field`, for what a user can mend.
    """

    def __init__(self, remote: Remote, name: str, sha: str | None, field: str, shown: str):
        self._remote, self._name, self._sha = remote, name, sha
        self._field, self._shown = field, shown
        self._zip: zipfile.ZipFile | None = None

    def about(self) -> Stat:
        """Its size and version."""
        stat = self._remote.stat(self._name)
        if stat is None:
            raise ConfigError(f"{self._field}: there is no {self._shown}; is the URL right?")
        return stat

    def sizes(self) -> dict[str, int] | None:
        """Name → size of the files in it, or None where only unpacking tells, which is not too much then."""
        if self._name.lower().endswith(ZIP):
            try:
                return self._zip_sizes()
            except NoRangesError:
                pass
        size = self.about().size
        if size is None or size > MOST_BLIND:
            known = "of unknown size" if size is None else f"of {shown_size(size)}"
            raise ConfigError(
                f"{self._field}: {self._shown} is {known}, and what is in it is known only when all of it has come; "
                f"above {shown_size(MOST_BLIND)} give a .zip on a server that knows ranges, unpack it into a bucket, "
                "or write shards with `gandist pack`"
            )
        return None

    def _zip_sizes(self) -> dict[str, int]:
        try:
            return zip_sizes(self._opened(), self._shown)
        except zipfile.BadZipFile as error:
            # What the server said, if that is why.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise ConfigError(f"{self._field}: {self._shown} is no whole zip archive: {error}") from None
        except ConfigError as error:
            raise ConfigError(f"{self._field}: {error}") from None

    def read(self, name: str, start: int, length: int | None) -> bytes:
        """A part of a file in a zip."""
        with self._opened().open(name) as member:
            member.seek(start)
            return member.read() if length is None else member.read(length)

    def _opened(self) -> zipfile.ZipFile:
        if self._zip is None:

            def part(start: int, length: int) -> bytes:
                return self._remote.read(self._name, start, length) or b""

            file = io.BufferedReader(ByParts(self.about().size or 0, part), 2**16)
            self._zip = zipfile.ZipFile(file)  # type: ignore[arg-type]
        return self._zip

    def unpack(self, folder: Path, told: Told) -> None:
        """Fetches it, checks it, and unpacks it into a folder."""
        size, packed = self.about().size, folder.with_name("archive")
        fetcher = Fetcher(self._remote, self._field, self._shown)
        sha = self._sha or fetcher.sums(self._name).get(self._name)
        fetcher.bring(self._name, packed, size, sha, Progress(size or 0, told))
        try:
            unpack(packed, folder, self._name, self._shown)
        except ConfigError as error:
            raise ConfigError(f"{self._field}: {error}") from None
        packed.unlink()
