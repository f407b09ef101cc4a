"""Writes checkpoints beside the training: in a thread of rank 0, one at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

AGAIN = 15.0
"""Seconds between two tries where the run waits for its storage."""
GRACE = 0.05
"""Seconds that the training lets a small checkpoint finish: then a crash in the next step finds it whole."""


def on_host(value: Any) -> Any:
    """A copy of nested dicts and lists with every tensor copied to host memory."""
    if isinstance(value, Tensor):
        copy = value.detach().cpu()
        return copy.clone() if copy.data_ptr() == value.data_ptr() else copy
    if isinstance(value, dict):
        return {key: on_host(entry) for key, entry in value.items()}
    return [on_host(entry) for entry in value] if isinstance(value, list) else value


class Writer:
    """One write at a time. patient: a write that fails is tried again until it succeeds, instead of given up."""

    def __init__(self, patient: bool = False, warn: Callable[[str], None] = lambda text: None):
        self._patient, self._warn = patient, warn
        self._thread: threading.Thread | None = None
        self._written: deque[tuple[int, Path]] = deque()
        self.failure = ""
        """Why the last write was given up."""
        self.longest = 0.0
        """Seconds that the slowest write took."""

    def start(self, step: int, write: Callable[[], Path]) -> None:
        """Begins `write()`, which writes the checkpoint of a step. The one before must be over: see `wait`."""
        # A daemon: a run that fails must not wait for ever for a storage that does not come back.
        self._thread = threading.Thread(target=self._run, args=(step, write), name=f"checkpoint {step}", daemon=True)
        self._thread.start()
        self.wait(GRACE)

    def wait(self, seconds: float | None = None) -> None:
        """Waits for the write in flight, if there is one."""
        if self._thread is not None:
            self._thread.join(seconds)

    def written(self) -> list[tuple[int, Path]]:
        """Step and path of the checkpoints that have become whole since the last call."""
        return [self._written.popleft() for _ in range(len(self._written))]

    def _run(self, step: int, write: Callable[[], Path]) -> None:
        begin, told = time.monotonic(), ""
        while True:
            try:
                self._written.append((step, write()))
            except Exception as error:
                # Not only OSError: a full disk reaches safetensors and torch.save as errors of their own.
                reason = f"the checkpoint of step {step} could not be written: {error}; those before it are whole"
                if not self._patient:
                    self.failure = reason
                    return
                if reason != told:
                    self._warn(f"{reason}; trying again every {AGAIN:g} s (cluster.storage_error: wait)")
                    told = reason
                time.sleep(AGAIN)
            else:
                self.longest = max(self.longest, time.monotonic() - begin)
                if told:
                    self._warn(f"the checkpoint of step {step} is written")
                return
