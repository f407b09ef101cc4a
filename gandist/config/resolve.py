"""From a composed mapping to a validated Config, or all problems at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from gandist.config.compose import Composed
from gandist.config.problems import Problem, dotted, from_pydantic, known_path, report, unknown_key
from gandist.config.schema import Config, fill_in
from gandist.config.strict import conversions, without_empty
from gandist.errors import ConfigError, did_you_mean


def resolve(config: Composed | Mapping[str, Any]) -> Config:
    """The validated config. Raises ConfigError that lists every problem, with dotted paths and nearest valid names.

    A worker that gets the plain mapping resolves it to the same Config.
    """
    composed = config if isinstance(config, Composed) else Composed(dict(config), "config")
    data = without_empty(Config, fill_in(composed.mapping))
    problems: dict[str, Problem] = {}
    resolved = None
    try:
        resolved = Config.model_validate(data)
    except ValidationError as error:
        problems |= {problem.path: problem for problem in from_pydantic(error, data)}
    for path, text in conversions(Config, data):
        problems.setdefault(dotted(path), Problem(dotted(path), text))
    for path in composed.reset:
        if not known_path(tuple(path.split(".")), data):
            problems.setdefault(path, Problem(path, unknown_key(tuple(path.split(".")), data)))
    if resolved is not None:
        problems |= {problem.path: problem for problem in _idle_optimizers(resolved)}
    if resolved is None or problems:
        raise ConfigError(report(composed.title, list(problems.values()), composed.origin))
    return resolved


def _idle_optimizers(config: Config) -> Iterator[Problem]:
    players = list(dict.fromkeys(config.loss.turns))
    for player in config.optimizer:
        if player not in players:
            hint = did_you_mean(player, players) or ";"
            yield Problem(f"optimizer.{player}", f"unknown player{hint} {config.loss.name} plays: {', '.join(players)}")
