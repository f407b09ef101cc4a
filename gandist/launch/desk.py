"""The driver's side of a run: it looks at the board, shows what is new, and turns signals into requests."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, Protocol

from gandist.config.schema import Config
from gandist.errors import RunError
from gandist.launch import folder as folders
from gandist.launch.board import Board, Cause, RemoteBoard, Sighting
from gandist.launch.home import Home
from gandist.launch.signals import Signals
from gandist.launch.watching import Watchers
from gandist.training.run import RunView

SILENT = 15.0
"""Seconds without a sign of life after which a rank is reported; a lost worker is replaced sooner."""
ALL_SILENT = 60.0
"""The same where no rank gives any: until then Ray may be replacing the group, which is no news."""


class Follower(Protocol):
    """Somebody else in the driver who follows a run, and may end it early with a checkpoint: a sweep."""

    def told(self, hook: str, facts: dict[str, Any]) -> None:
        """A hook was called, or "warning" is shown."""

    def wants_stop(self) -> bool:
        """Whether the run should save and leave now."""
        ...


class Desk:
    """The driver's side of the board: its watchers, the signals it gets, the failures it writes down."""

    def __init__(self, config: Config, view: RunView, home: Home, follower: Follower | None = None):
        self.view, self.home, self._follower, self.signals = view, home, follower, Signals()
        self._watchers = Watchers(config, view, "driver", warn=lambda text: None)
        self._board: Board | RemoteBoard | None = None
        self.causes: list[Cause] = []
        self._stopping = self._begun = False
        self._silent: set[int] = set()

    def sit(self, board: Board | RemoteBoard) -> None:
        """From now on there is a board to look at."""
        self._board = board
        self.phase("starting the workers")

    def warn(self, text: str) -> None:
        """Shows a line."""
        self._watchers.tell("on_warning", text)
        if self._follower is not None:
            self._follower.told("warning", {"text": text})

    def phase(self, name: str) -> None:
        """Shows what happens before the first step."""
        self._watchers.tell("on_progress", name, 0, 0, None)

    def look(self) -> None:
        """Passes on what is new on the board."""
        if self._board is None:
            return
        if self.signals.came and not self._stopping:
            self.warn(
                "stopping after this step with a checkpoint; once more ends at once and loses the steps since the last"
            )
        if not self._stopping and (self.signals.came or (self._follower is not None and self._follower.wants_stop())):
            self._stopping = True
            self._board.request("stop")
        sightings, events, causes = self._board.news()
        for hook, facts in events:
            if hook == "warning":
                self.warn(facts["text"])
            elif hook == "gandist_on_train_start":
                self.view = replace(
                    self.view, id=facts["id"], world_size=facts["world_size"], resumed_from=facts["resumed_from"]
                )
                self._watchers.run = self.view
                self._watchers.announce(hook)
            else:
                self._watchers.announce(hook, **facts)
            if self._follower is not None and hook != "warning":
                self._follower.told(hook, facts)
        for cause in causes[len(self.causes) :]:
            self._write_down(cause)
        self.causes = causes
        if sightings:
            self._begun = True
            first = (sightings.get(0) or next(iter(sightings.values()))).place
            self._watchers.tell("on_progress", first.phase, first.step, first.images, None)
        self._mind_the_silent(sightings)

    @property
    def idle(self) -> bool:
        """Whether the run is to stop and no worker has come up yet, so that nobody would hear of it."""
        return self._stopping and not self._begun

    def _mind_the_silent(self, sightings: dict[int, Sighting]) -> None:
        """Says once of a rank that it has fallen silent, and once that it is back."""
        limit = SILENT if any(seen.heard <= SILENT for seen in sightings.values()) else ALL_SILENT
        for rank, seen in sorted(sightings.items()):
            if seen.heard > limit and rank not in self._silent:
                self._silent.add(rank)
                self.warn(seen.told(rank))
            elif seen.heard <= SILENT and rank in self._silent:
                self._silent.remove(rank)
                self.warn(f"rank {rank} is back")

    def _write_down(self, cause: Cause) -> None:
        with (self.home.folder / folders.FAILURES).open("a") as file:
            file.write(json.dumps(asdict(cause)) + "\n")
        # It is told all the same, and goes with the next one.
        with suppress(RunError):
            self.home.keep(folders.FAILURES)
        if not cause.final:
            self.warn(f"rank {cause.rank} failed at step {cause.step}: {cause.text}; trying once more")

    def end(self, error: BaseException | None) -> None:
        """The run is over."""
        self._watchers.announce("gandist_on_train_end", error=error)
