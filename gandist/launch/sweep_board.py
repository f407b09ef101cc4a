"""What the trials of a sweep tell its driver, and what it asks of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

EVERYONE = "*"


@dataclass
class SweepBoard:
    """One Ray actor without CPUs, beside the driver."""

    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    def tell(self, trial: str, what: str, facts: dict[str, Any]) -> None:
        """A trial says what happened."""
        self.events.append((trial, what, facts))

    def news(self) -> list[tuple[str, str, dict[str, Any]]]:
        """(trial, what, facts) since the last call."""
        events, self.events = self.events, []
        return events

    def stop(self, trial: str = EVERYONE) -> None:
        """Asks a trial, or all of them, to save and leave."""
        self.asked.add(trial)

    def asks(self, trial: str) -> str:
        """Why the trial should leave: "everyone" is asked to, "it" is, or "" if it may go on."""
        if EVERYONE in self.asked:
            return "everyone"
        return "it" if trial in self.asked else ""
