"""The run folder: who owns it, what lies in it, and whether the same command may go on with it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from gandist.config.changes import forbidden_changes
from gandist.config.yaml import read_yaml
from gandist.errors import ConfigError
from gandist.training.best import BestSoFar
from gandist.training.checkpoint import write_file
from gandist.training.foreign import leads_out, read_json

LOCK, CONFIG, RESULT, FAILURES = ".lock", "config.yaml", "result.json", "failures.jsonl"
CLIENT = "wandb"
"""W&B's client makes a new folder in it for each start, with links to its logs elsewhere."""


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Makes the folder and owns it alone; the kernel gives the lock back when its owner dies, however that happens.

    Raises ConfigError if another process owns it (naming host and pid) or if nothing can be written there.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "a+", opener=_no_link)  # noqa: SIM115  (closed below)
    except OSError as error:
        raise ConfigError(
            f"cluster.storage: {folder} cannot be written ({error.strerror}); give a writable folder: "
            f"cluster.storage=PATH"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            owner = file.read().strip() or "another process"
            raise ConfigError(
                f"{folder} is in use by {owner}; wait for it, stop it, or give this run another run.name"
            ) from error
        file.truncate(0)
        file.write(f"host {socket.gethostname()}, pid {os.getpid()}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
            if made and set(folder.iterdir()) == {folder / LOCK}:
                # Nothing came of it: leave no trace.
                (folder / LOCK).unlink()
                folder.rmdir()


def _no_link(path: str, flags: int) -> int:
    """A lock that is a link could lead to any file, which would be emptied."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def move_aside(folder: Path) -> Path | None:
    """Gives an existing run folder another name beside it (`--fresh`); nothing is deleted."""
    if not folder.exists():
        return None
    with owned(folder):
        aside = folder.with_name(f"{folder.name}.{datetime.now():%Y%m%d-%H%M%S}")
        folder.rename(aside)
    return aside


def require_same_run(folder: Path, config: dict[str, Any], shown: str | None = None) -> None:
    """Whether the folder's run is this config's. Raises ConfigError with the differences if it is not.

    shown: what the user calls the folder, if not by its path.
    """
    if not folder.exists():
        return
    place = shown or str(folder)
    if not folder.is_dir():
        raise ConfigError(
            f"cluster.storage: {folder} is a file, not a folder; give another run.name or cluster.storage"
        )
    if (link := leads_out(folder, not_below=CLIENT)) is not None:
        raise ConfigError(
            f"{link} is a link that leads out of the run folder, where nothing is written; remove it, or move the "
            f"whole run with cluster.storage"
        )
    if not (folder / CONFIG).is_file():
        others = [path.name for path in folder.iterdir() if path.name != LOCK]
        if others:
            raise ConfigError(
                f"{place} is not the folder of a run (it holds {others[0]} and no {CONFIG}); give another run.name"
            )
        return
    old = read_yaml(folder / CONFIG).mapping
    if changes := forbidden_changes(old, config):
        listed = "\n".join(f"  {line}" for line in changes)
        raise ConfigError(
            f"{place} holds a run with another config:\n{listed}\n"
            f"give this run another run.name, or move the old one aside with --fresh"
        )


def threads(folder: Path) -> int | None:
    """`cluster.threads` with which the folder's run was last started, None for a new run."""
    if not (folder / CONFIG).is_file():
        return None
    before = read_yaml(folder / CONFIG).mapping.get("cluster", {}).get("threads")
    return before if isinstance(before, int) else None


def result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run, or None. Raises ConfigError for a file that no run has written."""
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        found = read_json(path)
        if type(found["steps"]) is not int:
            raise ValueError("its steps are no number")
        if "best" in found:
            found["best"] = asdict(BestSoFar(**found["best"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: is damaged ({error}); delete it, and the run goes on from its checkpoint") from None
    return found


def write_config(folder: Path, text: str) -> None:
    """Writes config.yaml, composed and complete."""
    write_file(folder / CONFIG, text.encode())


def write_result(folder: Path, finished: dict[str, Any]) -> dict[str, Any]:
    """Writes result.json and returns what it holds."""
    seconds = finished["seconds"]
    outcome = {
        "metrics": finished["metrics"],
        "images": finished["images"],
        "steps": finished["step"],
        "seconds": round(seconds, 3),
        "images_per_second": round(finished["images"] / seconds, 3) if seconds else None,
    }
    if finished["metrics"] and finished["evaluated"] != finished["step"]:
        outcome["evaluated"] = finished["evaluated"]
    if finished["best"] is not None:
        outcome["best"] = finished["best"]
    write_file(folder / RESULT, (json.dumps(outcome, indent=1) + "\n").encode())
    return outcome
