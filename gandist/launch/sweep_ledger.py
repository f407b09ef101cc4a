"""What is known of each trial of a sweep: written down after every change, and what the same command goes on with."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gandist.config.trials import Trial
from gandist.errors import ConfigError

WAITING, RUNNING, DONE, STOPPED, FAILED = "waiting", "running", "done", "stopped early", "failed"
"""What a trial may be. Nothing is left to do for one that is done or was stopped early."""


@dataclass
class Entry:
    """One trial. values: what varies. value: of the metric, at the last evaluation, which gave `metrics`.

    history: step, images and value of each evaluation. error: why it failed.
    """

    trial: str
    values: dict[str, Any]
    status: str = WAITING
    value: float | None = None
    step: int = 0
    images: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[tuple[int, int, float]] = field(default_factory=list)
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to do."""
        return self.status in (DONE, STOPPED)

    def evaluated(self, step: int, images: int, value: float, metrics: Mapping[str, float]) -> None:
        """An evaluation, perhaps once more after going back to a checkpoint."""
        self.history = [old for old in self.history if old[0] < step] + [(step, images, value)]
        self.step, self.images, self.value, self.metrics = step, images, value, dict(metrics)


class Ledger:
    """The entries of all trials, in their order."""

    def __init__(self, sweep: str, metric: str, mode: str, trials: Iterable[Trial]):
        self.sweep, self.metric, self.mode = sweep, metric, mode
        trials = list(trials)
        self.entries = {trial.name: Entry(trial.name, trial.values) for trial in trials}
        self._steps = {trial.name: trial.config.steps for trial in trials}

    def __getitem__(self, trial: str) -> Entry:
        return self.entries[trial]

    def read(self, text: str, place: str) -> None:
        """Takes over what an earlier command wrote. Raises ConfigError if that was another sweep, or is damaged."""
        try:
            before = json.loads(text)
            old = {row["trial"]: Entry(**row) for row in before["trials"]}
            same = before["metric"] == self.metric
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{place}: is damaged ({error}); delete it, and each trial goes on from its checkpoint"
            ) from None
        for name, entry in self.entries.items():
            if name not in old:
                continue
            known = old[name]
            # As JSON has them: tuples are lists there.
            if known.values != json.loads(json.dumps(entry.values)):
                raise ConfigError(
                    f"{place}: {name} was {_told(known.values)} and is {_told(entry.values)} now; give this sweep "
                    f"another --name, or move the old one aside with --fresh"
                )
            last = [(known.step, known.images, known.metrics.get(self.metric))] if known.step else []
            history = known.history if same else last
            known.history = [(step, images, math.nan if value is None else value) for step, images, value in history]
            known.value = known.history[-1][2] if known.history else None
            # A run that is done goes on when it is made longer.
            if not known.ended or (known.status == DONE and known.step < self._steps[name]):
                known.status, known.error = WAITING, ""
            self.entries[name] = known

    @property
    def left(self) -> list[str]:
        """The trials that have not ended."""
        return [name for name, entry in self.entries.items() if not entry.ended]

    @property
    def running(self) -> list[str]:
        """The trials that are at work."""
        return [name for name, entry in self.entries.items() if entry.status == RUNNING]

    def ranked(self) -> list[Entry]:
        """Best first; those without a value last."""
        sign = 1 if self.mode == "min" else -1
        return sorted(
            self.entries.values(),
            key=lambda entry: math.inf if entry.value is None or math.isnan(entry.value) else sign * entry.value,
        )

    @property
    def best(self) -> Entry | None:
        """The best of the trials that ran to their end."""
        return next((entry for entry in self.ranked() if entry.status == DONE and entry.value is not None), None)

    def as_dict(self) -> dict[str, Any]:
        """What `read` takes, the trials best first; a number that is not finite is None."""
        about = {"sweep": self.sweep, "metric": self.metric, "mode": self.mode}
        best = self.best.trial if self.best else None
        return _finite({**about, "best": best, "trials": [asdict(entry) for entry in self.ranked()]})

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows, best first: trial, status, metric, images, then what varies."""
        varied = list(dict.fromkeys(key for entry in self.entries.values() for key in entry.values))
        rows = [
            [
                entry.trial,
                entry.status,
                "" if entry.value is None else f"{entry.value:.6g}",
                str(entry.images),
                *(str(entry.values.get(key, "")) for key in varied),
            ]
            for entry in self.ranked()
        ]
        return ["trial", "status", self.metric, "images", *varied], rows

    def as_csv(self) -> str:
        """The table for a spreadsheet."""
        header, rows = self.table()
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
        return file.getvalue()


def _finite(value: Any) -> Any:
    """The value with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _told(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())
