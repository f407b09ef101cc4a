"""A single file from a URL, kept in the cache of the node: network weights, say."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from gandist.config.storage import shown
from gandist.data.cache import Cache, NoRoomError
from gandist.data.fetching import Fetcher, Progress, Told, untold
from gandist.data.remote import remote
from gandist.errors import ConfigError


def download(url: str, sha256: str, field: str, told: Told = untold) -> Path:
    """The file behind a URL, fetched once per node by one process, whole, and with this SHA-256.

    A download that broke off goes on where it was. What is in the cache is found without a network. field: for
    messages, which begin with it. Raises ConfigError for a file that is not there, has another SHA-256 or does not fit
    into the cache, and OSError for a server that fails several times in a row.
    """
    parts = urlsplit(url)
    above, _, name = parts.path.rpartition("/")
    cache, key = Cache(), f"{re.sub(r'[^A-Za-z0-9._]+', '-', name)[-60:]}-{sha256[:16].lower()}"

    def fill(path: Path) -> None:
        server = remote(parts._replace(path=above).geturl())
        stat = server.stat(name)
        size = stat.size if stat is not None else None
        Fetcher(server, field, shown(url)).bring(name, path, size, sha256, Progress(size or 0, told))

    try:
        found = cache.get(key, key, None, fill, shown(url))
    except NoRoomError as error:
        raise ConfigError(f"{field}: {error}") from None
    assert found is not None
    return found
