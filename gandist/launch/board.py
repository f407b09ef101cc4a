"""The board between driver and ranks: where each rank is, what happened, what is asked for, why something failed.

On Ray it is one actor without CPUs; in local mode a plain object. Ages are taken by the board's own clock, so that the
clocks of the hosts need not agree.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

ANSWER = 60.0
"""Seconds within which the board must answer: a rank that is cut off must not wait for ever to say so."""


@dataclass(frozen=True)
class Cause:
    """Why a rank failed. `final` says that trying again would fail again."""

    text: str
    step: int
    rank: int
    final: bool = False

    def same(self, other: Cause) -> bool:
        """Whether it is the same failure once more."""
        return (self.text, self.step) == (other.text, other.step)


@dataclass(frozen=True)
class Place:
    """Where a rank is: in what phase of which step, in which process of which host."""

    phase: str
    step: int
    images: int
    host: str = ""
    pid: int = 0


@dataclass(frozen=True)
class Sighting:
    """What is known of a rank. heard: seconds since it last gave a sign of life. still: since it last moved on."""

    place: Place
    heard: float
    still: float

    def told(self, rank: int) -> str:
        """ "rank 1 on host h2 (pid 77), last heard of 12 s ago, at step 57 (training) for 15 s"."""
        place = self.place
        heard = "" if self.heard < 5 else f", last heard of {self.heard:.0f} s ago"
        where = f"rank {rank} on host {place.host} (pid {place.pid})"
        return f"{where}{heard}, at step {place.step} ({place.phase}) for {self.still:.0f} s"


@dataclass
class Board:
    """The plain object."""

    places: dict[int, tuple[Place, float, float]] = field(default_factory=dict)
    """By rank: place, when it was last posted, when it last changed."""
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    causes: list[Cause] = field(default_factory=list)

    def post(self, rank: int, place: Place) -> None:
        """A rank says where it is; the same once more is a sign of life."""
        now = time.monotonic()
        before = self.places.get(rank)
        self.places[rank] = (place, now, before[2] if before is not None and before[0] == place else now)

    def begin(self) -> None:
        """A new group of ranks begins; those of the group before are gone."""
        self.places.clear()

    def sightings(self) -> dict[int, Sighting]:
        """What is known of each rank."""
        now = time.monotonic()
        return {rank: Sighting(place, now - heard, now - moved) for rank, (place, heard, moved) in self.places.items()}

    def tell(self, hook: str, facts: dict[str, Any]) -> None:
        """Rank 0 passes on what its watchers were told, for those in the driver."""
        self.events.append((hook, facts))

    def request(self, what: str) -> None:
        """Somebody asks for "stop" or "save"."""
        self.asked.add(what)

    def requests(self) -> set[str]:
        """What has been asked for since the last call."""
        # In local mode another thread may be asking right now: nothing is replaced.
        asked = set(self.asked)
        self.asked -= asked
        return asked

    def fail(self, cause: Cause) -> None:
        """A rank says why it failed. The same at the same step for the second time is final."""
        again = cause.final or any(cause.same(old) for old in self.causes)
        self.causes.append(Cause(cause.text, cause.step, cause.rank, again))

    def news(self) -> tuple[dict[int, Sighting], list[tuple[str, dict[str, Any]]], list[Cause]]:
        """For the driver: what is known of all ranks, events since the last call, all causes."""
        events, self.events = self.events, []
        return self.sightings(), events, list(self.causes)


class RemoteBoard:
    """The same methods over a handle of the actor. What no rank waits for is sent without waiting."""

    def __init__(self, handle: Any):
        self.handle = handle

    def post(self, rank: int, place: Place) -> None:
        """See Board."""
        self.handle.post.remote(rank, place)

    def begin(self) -> None:
        """See Board."""
        self.handle.begin.remote()

    def sightings(self) -> dict[int, Sighting]:
        """See Board."""
        return self._ask("sightings")

    def tell(self, hook: str, facts: dict[str, Any]) -> None:
        """See Board."""
        self.handle.tell.remote(hook, facts)

    def request(self, what: str) -> None:
        """See Board."""
        self.handle.request.remote(what)

    def requests(self) -> set[str]:
        """See Board."""
        return self._ask("requests")

    def fail(self, cause: Cause) -> None:
        """See Board. Waits until it is there: the process may be gone a moment later."""
        self._ask("fail", cause)

    def news(self) -> tuple[dict[int, Sighting], list[tuple[str, dict[str, Any]]], list[Cause]]:
        """See Board."""
        return self._ask("news")

    def _ask(self, method: str, *arguments: Any) -> Any:
        import ray

        return ray.get(getattr(self.handle, method).remote(*arguments), timeout=ANSWER)


def remote_board() -> RemoteBoard:
    """A board of its own actor in the running Ray."""
    return RemoteBoard(on_this_node(Board))


def on_this_node(actor: type) -> Any:
    """An actor without CPUs on the driver's node: it must not die with a worker's."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # Ray keeps three kilobytes of each of its last 100,000 calls, and a rank calls four times a second.
    return ray.remote(num_cpus=0)(actor).options(scheduling_strategy=here, enable_task_events=False).remote()
