"""Asks the run to leave with a checkpoint when Ray says that a node is about to be taken away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

EVERY = 2.0
"""Seconds between two questions."""


def watch_for_preemption(leave: Callable[[str], None]) -> None:
    """Calls `leave(reason)` on every rank once Ray announces that a node of this run goes away.

    Ray's question is a barrier over all ranks, so it is asked by a thread of each, never by the training.
    """
    threading.Thread(target=_ask, args=(leave,), name="preemption", daemon=True).start()


def _ask(leave: Callable[[str], None]) -> None:
    import ray.train

    while True:
        try:
            info = ray.train.get_preemption_info()
        except Exception:
            # The group is being ended.
            return
        if info is not None:
            ranks = ", ".join(map(str, info.preempted_ranks))
            return leave(f"the node of rank {ranks} is about to be taken away: leaving with a checkpoint")
        time.sleep(EVERY)
