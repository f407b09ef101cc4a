"""Work that rank 0 does for all, while the others wait as long as it takes."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch.distributed as dist

from gandist.contract.collective import distributed
from gandist.errors import RunError

QUICK, SLOW = 0.01, 0.25
"""Seconds between two signs of life of rank 0, at first and later."""
LATER = 1.0

T = TypeVar("T")


@dataclass(frozen=True)
class _Outcome:
    value: object = None
    error: Exception | None = None


def on_rank_0(work: Callable[[], T]) -> T:
    """What `work()` returns on rank 0, on every rank; what it raises there is raised on every rank.

    All ranks must call it. The work runs in a thread while rank 0 keeps telling the others that it is not done yet, so
    that nobody stands in one collective for longer than a blink: no timeout is met, and a dead rank 0 is noticed.
    """
    if not distributed():
        return work()
    outcomes: list[_Outcome] = []
    thread = threading.Thread(target=_keep, args=(work, outcomes), name="on rank 0", daemon=True)
    if dist.get_rank() == 0:
        thread.start()
    box: list[_Outcome | None] = [None]
    waited = 0.0
    while box[0] is None:
        pause = QUICK if waited < LATER else SLOW
        waited += pause
        if dist.get_rank() == 0:
            thread.join(pause)
        box = [outcomes[0] if outcomes else None]
        dist.broadcast_object_list(box, 0)
    if box[0].error is not None:
        raise box[0].error
    return box[0].value  # type: ignore[return-value]


def on_every_rank(work: Callable[[], None]) -> None:
    """Does `work()` on every rank at once, and returns when all are done; what it raises on one is raised on all.

    As `on_rank_0`, however long it takes; all ranks must call it.
    """
    if not distributed():
        return work()
    outcomes: list[_Outcome] = []
    threading.Thread(target=_keep, args=(work, outcomes), name="on every rank", daemon=True).start()
    waited, seen = 0.0, list[_Outcome | None]([None])
    while not all(seen):
        pause = QUICK if waited < LATER else SLOW
        waited += pause
        time.sleep(pause)
        seen = [None] * dist.get_world_size()
        dist.all_gather_object(seen, outcomes[0] if outcomes else None)
        # At once: where one has failed, the others need not finish.
        for outcome in seen:
            if outcome is not None and outcome.error is not None:
                raise outcome.error


def _keep(work: Callable[[], object], outcomes: list[_Outcome]) -> None:
    try:
        outcomes.append(_Outcome(work()))
    except Exception as error:
        outcomes.append(_Outcome(error=error if travels(error) else RunError(f"{type(error).__name__}: {error}")))


def travels(error: Exception) -> bool:
    """Whether an error can be sent to another process as it is."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True
