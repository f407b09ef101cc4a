"""What is worth keeping between runs: computed once per machine, written whole or not at all, read without pickle."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from gandist.data.cache import cache_folder as cache_folder
from gandist.training.checkpoint import write_tensors

Stored = tuple[dict[str, Tensor], dict[str, str]]
"""Tensors, and short texts about them."""


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Holds the lock of `path` against other processes; False where the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_suffix(".lock").open("w")
    except OSError:
        yield False
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield True


def read(path: Path) -> Stored | None:
    """A cached file, or None if it is missing or damaged."""
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None


def remembered(path: Path, make: Callable[[], Stored], fits: Callable[[Stored], bool] = lambda _: True) -> Stored:
    """What `path` holds, made first if need be; of many processes that ask at once, one makes it.

    fits: whether what lies there can be what `make` makes; if not, it counts as damaged and is made anew.
    A cache that cannot be written costs time, never a run.
    """
    with _alone(path) as writable:
        if (found := read(path)) is not None and fits(found):
            return found
        made = make()
        if writable:
            with suppress(OSError):
                write_tensors(path, *made)
        return made
