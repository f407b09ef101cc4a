"""A sweep file: which config, which keys vary and how, by what the trials are judged."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from gandist.config.problems import Problem, dotted, from_pydantic, report
from gandist.config.schema import FolderName, Section
from gandist.config.strict import conversions, without_empty
from gandist.config.yaml import Located, read_yaml
from gandist.contract.noise import key
from gandist.errors import ConfigError

Whole = int
"""Another name, where a field is called `int`."""

DIGITS = 4
"""Significant digits of a number that is drawn, so that the table shows the very value."""


class Space(Section):
    """What a key may be: one of these. A plain list is short for `grid`."""

    grid: tuple[Any, ...] | None = Field(default=None, min_length=1)
    """Each of these values with each of the other grids'."""
    choice: tuple[Any, ...] | None = Field(default=None, min_length=1)
    """One of these values, drawn anew for each trial."""
    uniform: tuple[float, float] | None = None
    """A number between the two."""
    loguniform: tuple[float, float] | None = None
    """The same, with equal chances for each factor: 1 to 10 as often as 10 to 100."""
    int: tuple[Whole, Whole] | None = None
    """A whole number from the first to the second, both included."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                "should be a list of values, or one of {choice: […]}, {uniform: [LOW, HIGH]}, "
                f"{{loguniform: [LOW, HIGH]}}, {{int: [LOW, HIGH]}}; {f'has {len(given)}' if given else 'is empty'}"
            )
        if self.ends and not self.ends[0] < self.ends[1]:
            raise ValueError(f"{given[0]}: the first number should be less than the second, are {list(self.ends)}")
        if self.loguniform and self.loguniform[0] <= 0:
            raise ValueError(f"loguniform: should begin above 0, begins at {self.loguniform[0]:g}; uniform takes 0")
        return self

    @property
    def ends(self) -> tuple[float, float] | None:
        """The ends of a range, None where values are listed."""
        return self.uniform or self.loguniform or self.int

    def draw(self, share: float) -> Any:
        """The value at a share from 0 to 1 of what is drawn from; for all but grids."""
        if self.choice:
            return self.choice[math.floor(share * len(self.choice))]
        assert self.ends is not None
        low, high = self.ends
        if self.int:
            return math.floor(low + share * (high - low + 1))
        value = low + share * (high - low) if self.uniform else low * (high / low) ** share
        return min(max(float(f"{value:.{DIGITS}g}"), low), high)


class Scheduler(Section):
    """Which trials are stopped before their end."""

    name: Literal["asha", "none"] = "asha"
    """asha stops the worse ones at growing numbers of images (Li et al. 2020); none lets each run to its end."""
    grace: int | None = Field(default=None, ge=1)
    """Images before which no trial is stopped; null takes one interval between evaluations."""
    reduction: float = Field(default=3.0, gt=1.0, le=100.0)
    """At each halt all but the best one in so many stop; the next is so many times later."""


class Sweep(Section):
    """Trials of one config that differ in some keys."""

    name: FolderName
    """Name of the sweep and of its folder; the sweep file's stem by default."""
    config: str = Field(min_length=1)
    """The config that varies, relative to the sweep file."""
    search: dict[str, Space] = Field(min_length=1)
    """Dotted key of the config → what it may be."""
    trials: int | None = Field(default=None, ge=1, le=10_000)
    """How many; null takes the whole grid, where nothing is drawn."""
    metric: str = "frechet"
    """What trials are judged by: a score of the config's evaluations."""
    mode: Literal["min", "max"] = "min"
    """Whether less is better."""
    scheduler: Scheduler = Scheduler()
    """Which trials are stopped early."""
    concurrent: Literal["auto"] | int = "auto"
    """Trials at the same time; auto takes as many as there is room for."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """What is drawn is a function of it, of the trial's number and of the key."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Dotted key → value, for all trials."""

    @field_validator("concurrent")
    @classmethod
    def _some_at_a_time(cls, concurrent: int | str) -> int | str:
        if isinstance(concurrent, int) and concurrent < 1:
            raise ValueError(f"should be auto or at least 1, is {concurrent}")
        return concurrent

    @field_validator("search")
    @classmethod
    def _keeps_what_the_sweep_sets(cls, search: dict[str, Space]) -> dict[str, Space]:
        for path in ("run.name", "cluster.storage", "run", "cluster"):
            if path in search:
                raise ValueError(f"{path} cannot vary: each trial gets a run folder of its own in the sweep's")
        return search

    @model_validator(mode="after")
    def _trials_fit_the_grid(self) -> Self:
        drawn = [path for path, space in self.search.items() if space.grid is None]
        if self.trials is None and drawn:
            raise ValueError(f"trials: is required, since {drawn[0]} is drawn at random; e.g. trials: 16")
        if self.trials is not None and self.trials < self.grid_size:
            raise ValueError(f"trials: the grid alone has {self.grid_size} points, {self.trials} trials leave some out")
        if self.trials is not None and self.trials > self.grid_size and not drawn:
            raise ValueError(f"trials: the grid has {self.grid_size} points and nothing is drawn: leave trials out")
        return self

    @property
    def grid_size(self) -> int:
        """Points of the grid."""
        return math.prod(len(space.grid) for space in self.search.values() if space.grid)

    def values(self, number: int) -> dict[str, Any]:
        """What varies, in trial `number` from 0: a pure function of the sweep and the number."""
        values, left = {}, number
        for path, space in self.search.items():
            if space.grid:
                left, index = divmod(left, len(space.grid))
                values[path] = space.grid[index]
            else:
                values[path] = space.draw(random.Random(key(self.seed, "sweep", number, path)).random())
        return values

    @property
    def numbers(self) -> range:
        """Those of the trials."""
        return range(self.trials or self.grid_size)


@dataclass(frozen=True)
class SweepFile:
    """A sweep that was read. origin: dotted key → "sweep.yaml:12"."""

    path: Path
    sweep: Sweep
    origin: dict[str, str]

    @property
    def config(self) -> Path:
        """Path of the config that varies."""
        return self.path.parent / self.sweep.config


def read_sweep(path: str | Path, name: str | None = None, overrides: Sequence[str] = ()) -> SweepFile:
    """Reads a sweep file. Raises ConfigError that lists every problem in it with its place.

    name: instead of the file's. overrides: KEY=VALUE for the config of all trials, beside the file's.
    """
    from gandist.config.overrides import read_overrides

    path = Path(path)
    located = read_yaml(path, needs="a sweep needs at least config and search", dots=True)
    data = _spelt_out(located.mapping)
    if name is not None or data.get("name") is None:
        data["name"] = name or path.stem
    given = {override.dotted: override.value for override in read_overrides(overrides)}
    if given and isinstance(data.get("overrides", {}), dict):
        data["overrides"] = {**data.get("overrides", {}), **given}
    sweep = _validated(data, str(path), _origins(located, path))
    return SweepFile(path, sweep, _origins(located, path))


def _validated(data: dict[str, Any], title: str, origin: dict[str, str]) -> Sweep:
    values = without_empty(Sweep, data)
    found: dict[str, Problem] = {}
    sweep = None
    try:
        sweep = Sweep.model_validate(values)
    except ValidationError as error:
        for problem in from_pydantic(error, values, Sweep):
            # A rule about the whole sweep begins with the key that it is about.
            place, _, rest = problem.text.partition(": ")
            whole = not problem.path and place in Sweep.model_fields
            found[problem.path or place] = Problem(place, rest) if whole else problem
    for path, text in conversions(Sweep, values):
        found.setdefault(dotted(path), Problem(dotted(path), text))
    if sweep is None or found:
        raise ConfigError(report(title, list(found.values()), origin))
    return sweep


def _spelt_out(mapping: dict[str, Any]) -> dict[str, Any]:
    """The mapping with its short forms written out: a list is a grid, a scheduler's name a scheduler."""
    data = dict(mapping)
    if isinstance(data.get("search"), dict):
        data["search"] = {path: {"grid": v} if isinstance(v, list) else v for path, v in data["search"].items()}
    if isinstance(data.get("scheduler"), str):
        data["scheduler"] = {"name": data["scheduler"]}
    return data


def _origins(located: Located, path: Path) -> dict[str, str]:
    return {place: f"{path}:{line}" for place, line in located.lines.items()}
