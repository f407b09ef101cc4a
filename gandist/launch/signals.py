"""SIGINT and SIGTERM as requests: the first asks for an orderly end, the second ends at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Signals:
    """Whether this process was asked to end."""

    def __init__(self) -> None:
        self.came = False

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Within it, a first signal is noted and a second one ends the process.

        To be entered after Ray's start, which puts handlers of its own in place. Does nothing beside the main thread.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: Any) -> None:
            if self.came:
                os._exit(128 + number)
            self.came = True

        before = {name: signal.signal(name, handle) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)
