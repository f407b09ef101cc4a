"""Work done beside the training: in order, on a thread of its own, and given up when it gets stuck."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress

MOST = 10_000
"""Pieces of work that may wait."""
STUCK = 60.0
"""Seconds that one piece may take before the rest is given up, so that what waits never fills the memory."""


class Aside:
    """Does what it is given, one piece after the other, while whoever gave it goes on at once.

    lost: called once, with the reason, when a piece failed or is stuck; nothing is done after that.
    """

    def __init__(self, name: str, lost: Callable[[str], None]):
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(MOST)
        self._lost, self._off, self._lock = lost, False, threading.Lock()
        self._begun: float | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def do(self, piece: Callable[[], None]) -> None:
        """Has it done when its turn comes."""
        begun = self._begun
        if begun is not None and time.monotonic() - begun > STUCK:
            self._give_up(f"it has not answered for {STUCK:.0f} s")
        if self._off:
            return
        try:
            self._waiting.put_nowait(piece)
        except queue.Full:
            self._give_up(f"it is {MOST:,} entries behind")

    def end(self, seconds: float) -> None:
        """Waits until all is done, but not longer than `seconds`."""
        deadline = time.monotonic() + seconds
        with suppress(queue.Full):
            # A full queue has room again as soon as its thread moves on.
            self._waiting.put(None, timeout=seconds)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._give_up(f"it was not done within {seconds:.0f} s")

    def _work(self) -> None:
        while (piece := self._waiting.get()) is not None:
            if self._off:
                continue
            self._begun = time.monotonic()
            try:
                piece()
            except Exception as error:
                self._give_up((str(error).strip().splitlines() or [type(error).__name__])[0])
            self._begun = None

    def _give_up(self, reason: str) -> None:
        with self._lock:
            first, self._off = not self._off, True
        if first:
            self._lost(reason)
