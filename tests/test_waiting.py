"""Work that every rank does for itself, while nobody waits in a collective for long."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from small_runs import on_ranks

from gandist.errors import ConfigError, RunError
from gandist.training.waiting import on_every_rank


def _unlike(rank: int, world: int, folder: str) -> list[str]:
    """Rank 1 takes longer than the others; all see afterwards what all have done."""

    def work() -> None:
        time.sleep(0.5 * rank)
        Path(folder, f"done-{rank}").touch()

    on_every_rank(work)
    return sorted(path.name for path in Path(folder).iterdir())


def _one_fails(rank: int, world: int) -> str:
    def work() -> None:
        if rank == 1:
            raise ConfigError("no room on this node")
        # For ever: the failure of another is heard although this one is not done.
        threading.Event().wait()

    try:
        on_every_rank(work)
    except (ConfigError, RunError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def test_all_return_when_the_last_is_done(tmp_path: Path):
    assert on_ranks(2, _unlike, str(tmp_path)) == [["done-0", "done-1"]] * 2


def test_the_failure_of_one_is_heard_by_all():
    assert on_ranks(2, _one_fails) == ["ConfigError: no room on this node"] * 2


def test_alone_it_is_just_done():
    done: list[int] = []
    on_every_rank(lambda: done.append(1))
    assert done == [1]
