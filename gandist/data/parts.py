"""Parts of large files elsewhere: a node keeps as many of the files as its cache takes, and asks for parts of the rest.

Samples are drawn in random order, so that every file is as likely to be read next as any other. Putting one file in the
place of another would bring nothing: what is kept stays, and of what does not fit only the parts come that are wanted.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path

from gandist.data.cache import NoRoomError
from gandist.data.remote import NoRangesError
from gandist.errors import GandistError

OPEN = 128
"""Files that a process keeps open."""
AT_ONCE = 16
"""Parts that are asked for at the same time."""

Known = Mapping[str, tuple[int, str]]
"""Name → bytes and SHA-256 of each file."""
Part = tuple[str, int, int]
"""Name of the file, first byte, number of bytes."""


class _EndedError(Exception):
    """The process ends while a file is on its way."""


class Parts:
    """What one process reads.

    here(name): the file on this node, or None. bring(name, wait, told): fetches it there; None if another process does
    and wait is False; may raise NoRoomError. ask(name, start, length): that part from the server.
    """

    def __init__(
        self,
        here: Callable[[str], Path | None],
        bring: Callable[[str, bool, Callable[[int], None]], Path | None],
        ask: Callable[[str, int, int], bytes | None],
    ):
        self._here, self._bring, self._ask = here, bring, ask
        self._open: OrderedDict[str, FileIO] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._full = self._whole_only = False
        self._refused: GandistError | None = None

    def read(self, wanted: Sequence[Part], keep: bool) -> list[bytes]:
        """The parts; one is short where its file ends before. Raises what is wrong with a file that came.

        keep: whether files are fetched for what is read later.
        """
        if self._refused is not None:
            raise self._refused
        found: dict[int, bytes] = {}
        away: list[int] = []
        for number, (name, start, length) in enumerate(wanted):
            file = self._opened(name)
            if file is None:
                away.append(number)
            else:
                found[number] = os.pread(file.fileno(), length, start)
        if away:
            if keep:
                self._bring_ahead(wanted[away[0]][0])
            with ThreadPoolExecutor(min(AT_ONCE, len(away))) as pool:
                found.update(zip(away, pool.map(lambda number: self._from_afar(*wanted[number]), away), strict=True))
        return [found[number] for number in range(len(wanted))]

    def _opened(self, name: str) -> FileIO | None:
        if (file := self._open.get(name)) is not None:
            self._open.move_to_end(name)
            return file
        path = self._here(name)
        if path is None and self._whole_only:
            path = self._bring(name, True, lambda came: None)
        if path is None:
            return None
        if len(self._open) >= OPEN:
            self._open.popitem(last=False)[1].close()
        self._open[name] = FileIO(path)
        return self._open[name]

    def _from_afar(self, name: str, start: int, length: int) -> bytes:
        try:
            return self._ask(name, start, length) or b""
        except NoRangesError:
            # From now on it is whole files or nothing.
            self._whole_only = True
            path = self._bring(name, True, lambda came: None)
            assert path is not None
            with path.open("rb") as file:
                return os.pread(file.fileno(), length, start)

    def _bring_ahead(self, name: str) -> None:
        """Begins to fetch a file, unless this process is at one already or the cache is full."""
        if self._full or self._whole_only or (self._thread is not None and self._thread.is_alive()):
            return

        def told(came: int) -> None:
            if not threading.main_thread().is_alive():
                raise _EndedError

        def fetch() -> None:
            try:
                self._bring(name, False, told)
            except NoRoomError:
                self._full = True
            except GandistError as error:
                self._refused = error
            except (_EndedError, OSError):
                # Whoever wants a part of it asks the server, and hears what is wrong.
                return

        self._thread = threading.Thread(target=fetch, name=f"fetching {name}")
        self._thread.start()
