"""What the person who started a sweep sees of it: a line for each change of a trial, on stderr."""

from __future__ import annotations

import sys
from typing import Any

from gandist.launch.sweep_ledger import Entry, Ledger


class Teller:
    """Writes lines that stay."""

    def __init__(self, ledger: Ledger):
        self._ledger = ledger

    def say(self, text: str) -> None:
        """A line."""
        print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """A warning."""
        self.say(f"warning: {text}")

    def begin(self, room: int) -> None:
        """What begins, or goes on."""
        ledger = self._ledger
        total, left = len(ledger.entries), len(ledger.left)
        ended = f", {total - left} of them ended before" if left < total else ""
        best = "lowest" if ledger.mode == "min" else "highest"
        self.say(f"sweep {ledger.sweep}: {total} trials{ended}, {room} at a time, for the {best} {ledger.metric}")

    def tell(self, entry: Entry, what: str, facts: dict[str, Any], again: bool) -> None:
        """What a trial has told. again: it begins once more because its process was lost."""
        score = f"{self._ledger.metric} {entry.value:.4g}" if entry.value is not None else "no score yet"
        if what == "began":
            values = " ".join(f"{key}={value}" for key, value in entry.values.items())
            self._trial(entry, "its process was lost; it begins again" if again else f"begins: {values}")
        elif what == "resumed":
            self._trial(entry, f"goes on from step {facts['step']}")
        elif what == "evaluated":
            self._trial(entry, f"{score} after {entry.images:,} images")
        elif what == "done":
            best = self._ledger.best
            self._trial(entry, f"done: {score}{', the best so far' if best is entry else ''}{self._progress()}")
        elif what == "stopped early":
            self._trial(entry, f"stopped early after {entry.images:,} images: {score}{self._progress()}")
        elif what == "failed":
            self._trial(entry, f"failed: {facts['error']}")
        elif what == "interrupted":
            self._trial(entry, f"stopped with a checkpoint: {score}")
        elif what == "warning":
            self.warn(f"{entry.trial}: {facts['text']}")

    def _trial(self, entry: Entry, text: str) -> None:
        self.say(f"{entry.trial}  {text}")

    def _progress(self) -> str:
        total = len(self._ledger.entries)
        return f" ({total - len(self._ledger.left)} of {total} trials)"
