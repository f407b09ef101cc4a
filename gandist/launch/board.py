"""The board between driver and ranks: where each rank is, what happened, what is asked for, why something failed.

On Ray it is one actor without CPUs; in local mode a plain object. Ranks post and go on; only `requests` and `fail`
wait for an answer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


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


@dataclass
class Post:
    """Where a rank was when it last said so."""

    phase: str
    step: int
    images: int
    time: float


@dataclass
class Board:
    """The plain object."""

    posts: dict[int, Post] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    causes: list[Cause] = field(default_factory=list)

    def post(self, rank: int, phase: str, step: int, images: int) -> None:
        """A rank says where it is."""
        self.posts[rank] = Post(phase, step, images, time.time())

    def tell(self, hook: str, facts: dict[str, Any]) -> None:
        """Rank 0 passes on what its watchers were told, for those in the driver."""
        self.events.append((hook, facts))

    def request(self, what: str) -> None:
        """Somebody asks for "stop" or "save"."""
        self.asked.add(what)

    def requests(self) -> set[str]:
        """What has been asked for since the last call."""
        asked, self.asked = self.asked, set()
        return asked

    def fail(self, cause: Cause) -> None:
        """A rank says why it failed. The same at the same step for the second time is final."""
        again = cause.final or any(cause.same(old) for old in self.causes)
        self.causes.append(Cause(cause.text, cause.step, cause.rank, again))

    def news(self) -> tuple[dict[int, Post], list[tuple[str, dict[str, Any]]], list[Cause]]:
        """For the driver: posts of all ranks, events since the last call, all causes."""
        events, self.events = self.events, []
        return dict(self.posts), events, list(self.causes)


class RemoteBoard:
    """The same methods over a handle of the actor. What no rank waits for is sent without waiting."""

    def __init__(self, handle: Any):
        self.handle = handle

    def post(self, rank: int, phase: str, step: int, images: int) -> None:
        """See Board."""
        self.handle.post.remote(rank, phase, step, images)

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

    def news(self) -> tuple[dict[int, Post], list[tuple[str, dict[str, Any]]], list[Cause]]:
        """See Board."""
        return self._ask("news")

    def _ask(self, method: str, *arguments: Any) -> Any:
        import ray

        return ray.get(getattr(self.handle, method).remote(*arguments))


def remote_board() -> RemoteBoard:
    """A board of its own actor in the running Ray."""
    import ray

    return RemoteBoard(ray.remote(num_cpus=0)(Board).remote())
