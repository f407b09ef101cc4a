"""Everything that can fail before the first step, checked at once: the data set opens, the players are built, and the
parts of the config fit each other."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from gandist.config.compose import Composed
from gandist.config.problems import Problem, report
from gandist.config.rules import RULES, WARNINGS, Parts
from gandist.config.schema import Config, Evaluate
from gandist.contract.component import Component
from gandist.contract.components import Source
from gandist.contract.facts import Facts
from gandist.errors import ConfigError

MetricProblems = Callable[[Evaluate, Source, Mapping[str, nn.Module] | None], list[str]]
"""Why metrics cannot be computed on a data set, or of such players, one line a problem; it lies in a room that the
config does not know."""


@dataclass(frozen=True)
class Opened:
    """What checking has opened: the data set, the players (on the CPU, freshly initialised), and what to warn of."""

    source: Source
    players: dict[str, nn.Module]
    warnings: tuple[str, ...]


@dataclass
class _Found:
    problems: list[Problem] = field(default_factory=list)

    def add(self, path: str, text: str) -> None:
        self.problems.append(Problem(path, text))


def check(config: Config, composed: Composed | None = None, metric_problems: MetricProblems | None = None) -> Opened:
    """Opens the data set, builds the players, and applies every rule between components.

    composed: where the values came from, for the messages. metric_problems: what is known about `evaluate.metrics`.
    Raises ConfigError that lists all problems.
    """
    found = _Found()
    source = _open(config, found)
    players = _build(config, source.facts, found) if source is not None else None
    parts = Parts(config, source, players)
    for rule in RULES:
        found.problems += rule(parts)
    if source is not None and metric_problems is not None and config.evaluate.every:
        for text in metric_problems(config.evaluate, source, players):
            found.add("evaluate.metrics", text)
    if found.problems or source is None or players is None:
        title, origin = (composed.title, composed.origin) if composed else (config.run.name, {})
        raise ConfigError(report(title, found.problems, origin))
    return Opened(source, players, tuple(text for warning in WARNINGS for text in warning(parts)))


def _open(config: Config, found: _Found) -> Source | None:
    try:
        return config.dataset.open()
    except ConfigError as error:
        # A data set names the field at fault where it can: "dataset.root: …".
        named = re.match(r"(dataset(?:\.\w+)+): (.*)", str(error), re.DOTALL)
        found.add(*(named.groups() if named else ("dataset", str(error))))
    except OSError as error:
        found.add("dataset", f"{config.dataset.name} cannot be read: {error}")
    except Exception as error:
        found.add("dataset", _fault(config.dataset, "open", error))
    return None


def _build(config: Config, facts: Facts, found: _Found) -> dict[str, nn.Module] | None:
    reason = config.architecture.refuse(facts)
    if reason is not None:
        found.add("architecture", reason)
        return None
    try:
        return config.architecture.players(facts, config.run.seed)
    except (ConfigError, ValueError, RuntimeError, MemoryError) as error:
        # torch says with a RuntimeError that so much memory is not there.
        reason = str(error).split("\n", 1)[0]
        found.add("architecture", f"{config.architecture.name} cannot be built: {reason}; try a smaller one")
    except Exception as error:
        found.add("architecture", _fault(config.architecture, "players", error))
    return None


def _fault(component: Component, method: str, error: Exception) -> str:
    """A mistake in a component's own code, with its place."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {error} ({at.filename}:{at.lineno})"
    return f"{component.name}: its {method}() raised {what}; mend or replace the plugin"
