"""The trials of a sweep: a complete, checked config for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gandist.config.check import MetricProblems, check
from gandist.config.compose import COMMAND_LINE, Composed, compose
from gandist.config.problems import Problem, report
from gandist.config.resolve import resolve
from gandist.config.schema import Config
from gandist.config.storage import is_url, run_url
from gandist.config.sweep import SweepFile
from gandist.contract.scoring import Metric
from gandist.errors import ConfigError, did_you_mean

_FREE = ("run", "optimizer", "tracking")
"""Sections on which it does not depend whether the data set opens and the networks are built."""

Scores = Callable[[Iterable[Metric]], list[str]]
"""The names of the scores that metrics give; they lie in a room that the config does not know."""


@dataclass(frozen=True)
class Trial:
    """One trial. values: dotted key → what it is in this trial. storage: where the sweep's folder lies."""

    name: str
    values: dict[str, Any]
    config: Config
    storage: str

    @property
    def images(self) -> int:
        """Images of the whole run."""
        return self.config.steps * self.config.images_per_step


def trials(file: SweepFile, metric_problems: MetricProblems, scores: Scores) -> list[Trial]:
    """All trials of a sweep, each with its complete config.

    Raises ConfigError that lists what is wrong with any of them, the ends of the ranges included.
    """
    sweep, problems = file.sweep, _Problems(file)
    found = [
        trial
        for number in sweep.numbers
        if (trial := problems.of(lambda number=number: _trial(file, number, {}))) is not None
    ]
    for path, space in sweep.search.items():
        for end in space.ends or ():
            problems.of(lambda path=path, end=end: _trial(file, 0, {path: end}))
    problems.require_none()
    checked = set()
    for trial in found:
        plain = trial.config.model_dump(mode="json")
        alike = json.dumps({key: value for key, value in plain.items() if key not in _FREE}, sort_keys=True)
        if alike not in checked:
            checked.add(alike)
            number = int(trial.name.rpartition("-")[2])
            problems.of(partial(check, trial.config, _composed(file, number, {}), metric_problems))
        problems.add(_misfits(file, trial, scores))
    problems.require_none()
    return found


def best_config(file: SweepFile, trial: Trial) -> Config:
    """The config of a trial as a run of its own, beside the sweep's folder, not in it."""
    return resolve(
        compose(file.config, {**file.sweep.overrides, **trial.values, "run.name": f"{file.sweep.name}-best"})
    )


def _name(number: int) -> str:
    return f"trial-{number:05d}"


def _composed(file: SweepFile, number: int, instead: Mapping[str, Any]) -> Composed:
    """The config of a trial, with the sweep's lines as the origin of what the sweep sets."""
    sweep = file.sweep
    given = {**sweep.overrides, **sweep.values(number), **instead}
    composed = compose(file.config, {**given, "run.name": _name(number)})
    for path, place in composed.origin.items():
        if place == COMMAND_LINE:
            composed.origin[path] = next(_origins(file, path), place)
    return composed


def _origins(file: SweepFile, path: str) -> Iterator[str]:
    for section in ("search", "overrides"):
        for known in getattr(file.sweep, section):
            if path == known or path.startswith(f"{known}."):
                yield file.origin.get(f"{section}.{known}", COMMAND_LINE)


def _trial(file: SweepFile, number: int, instead: Mapping[str, Any]) -> Trial:
    composed = _composed(file, number, instead)
    config = resolve(composed)
    storage = config.cluster.storage
    name = file.sweep.name
    # Absolute: trials may run in processes that do not start where the command was typed.
    inside = run_url(storage, name) if is_url(storage) else str((Path(storage) / name).absolute())
    sets = {"cluster.storage": inside}
    for watcher, settings in config.tracking.items():
        if "group" in type(settings).model_fields and getattr(settings, "group", None) is None:
            sets[f"tracking.{watcher}.group"] = name
    return Trial(_name(number), file.sweep.values(number), resolve(compose(composed.mapping, sets)), storage)


def _misfits(file: SweepFile, trial: Trial, scores: Scores) -> Iterator[Problem]:
    """What the sweep asks of a config that is fine by itself."""
    config, metric = trial.config, file.sweep.metric
    if not config.evaluate.every:
        yield Problem("evaluate.every", "is 0: a sweep judges its trials by evaluations; set it in overrides")
        return
    known = scores(config.evaluate.metrics)
    if metric not in known:
        hint = did_you_mean(metric, known) or ";"
        yield Problem("metric", f"unknown score '{metric}'{hint} evaluate.metrics gives: {', '.join(known)}")
    if config.cluster.fewest_workers != config.cluster.most_workers:
        yield Problem("cluster.workers", f"is {config.cluster.workers}: trials share what there is; give a number")


class _Problems:
    """What is wrong with any trial, each problem once."""

    def __init__(self, file: SweepFile):
        self._file, self._found = file, dict[Problem, None]()

    def of(self, work: Callable[[], Any]) -> Any:
        """What `work` returns, None if it is refused."""
        try:
            return work()
        except ConfigError as error:
            lines = str(error).splitlines()
            # Below its title, a report has a problem on each line; what cannot even be composed is told in one line.
            for line in lines[1:] or [f"config   {lines[0]}"]:
                path, _, text = line.strip().partition("   ")
                self._found[Problem(path, text.strip())] = None
            return None

    def add(self, problems: Iterable[Problem]) -> None:
        """Adds what was found elsewhere."""
        self._found |= dict.fromkeys(problems)

    def require_none(self) -> None:
        """Raises ConfigError with all that was found."""
        if self._found:
            raise ConfigError(report(str(self._file.path), list(self._found)))
