"""`metrics.jsonl`: the run's scalars, one line of strict JSON a step, whole and without repetition after a crash."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, ClassVar

from gandist.contract.components import Watcher
from gandist.contract.hookspecs import hookimpl
from gandist.training.run import RunView

FILE_NAME = "metrics.jsonl"
EVALUATION = "evaluation/"
"""How the keys of scores begin."""


class MetricsFile(Watcher):
    """Writes metrics.jsonl into the run folder: a line of JSON for each logging step, and for scores that come late."""

    name: ClassVar[str] = "metrics"

    enabled: bool = True
    """Whether the file is written."""

    def watch(self, run: RunView) -> MetricsWriter | None:
        """Keeps the rows up to the checkpoint that the run goes on from; a fresh run starts an empty file."""
        if not self.enabled:
            return None
        path = run.folder / FILE_NAME
        kept = [] if run.resumed_from is None else [row for row in read(path) if row["step"] <= run.resumed_from]
        return MetricsWriter(path, kept)


class JsonLines:
    """Puts `rows` in the place of the file's old content, then appends to it.

    A row is written with one system call, so that a killed process leaves whole rows only; what a machine that loses
    power leaves of the last one is dropped when the run goes on.
    """

    def __init__(self, path: Path, rows: list[dict[str, Any]]):
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            file.writelines(map(_line, rows))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        self._file = path.open("ab", buffering=0)

    def add(self, row: dict[str, Any]) -> None:
        """One more row."""
        self._file.write(_line(row))

    def close(self) -> None:
        """No rows after this."""
        self._file.close()


class MetricsWriter(JsonLines):
    """The rows of a run."""

    def __init__(self, path: Path, rows: list[dict[str, Any]]):
        super().__init__(path, rows)
        self._evaluated = {row["step"] for row in rows if any(key.startswith(EVALUATION) for key in row)}

    @hookimpl
    def gandist_on_log(self, step: int, scalars: dict[str, float]) -> None:
        """The row of a logging step."""
        self.add({"step": step, **scalars, "images": int(scalars["images"])})

    @hookimpl
    def gandist_on_evaluation(self, run: RunView, step: int, metrics: dict[str, float], late: bool) -> None:
        """A row of its own for scores that no log line has; what a crash makes the run measure again stands there."""
        if late and step not in self._evaluated:
            self._evaluated.add(step)
            scores = {f"{EVALUATION}{name}": value for name, value in metrics.items()}
            self.add({"step": step, **scores, "images": step * run.config.images_per_step})

    @hookimpl
    def gandist_on_train_end(self) -> None:
        """Closes the file."""
        self.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of such a file in order, [] if there is none. A half-written line, left by a crash, is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows


def _line(row: dict[str, Any]) -> bytes:
    """One line of JSON; what is not a finite number becomes null, for which JSON has no other word."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    return (json.dumps(finite, allow_nan=False) + "\n").encode()
