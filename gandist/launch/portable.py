"""Whether a config can leave this machine: it is checked here, and nothing in it belongs to this machine alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gandist.config.check import check
from gandist.config.compose import Composed
from gandist.config.problems import Problem, report
from gandist.config.resolve import resolve
from gandist.config.schema import Config
from gandist.config.storage import is_url
from gandist.errors import ConfigError
from gandist.evaluation.metrics import validate as metric_problems


@dataclass(frozen=True)
class Portable:
    """A config that may go to a cluster, and what to warn of."""

    config: Config
    warnings: tuple[str, ...]


def portable(composed: Composed) -> Portable:
    """All that can be checked without the cluster. Raises ConfigError that lists what is wrong, for a cluster too."""
    config = resolve(composed)
    problems = [*_storage(config), *_relative(config, composed.mapping)]
    if config.cluster.most_workers == 0:
        text = "0 trains in the process of the command, which on a cluster is its head; ask for workers: --workers 1"
        problems.append(Problem("cluster.workers", text))
    if problems:
        raise ConfigError(report(composed.title, problems, composed.origin))
    root = getattr(config.dataset, "root", None)
    if isinstance(root, str) and not is_url(root) and not Path(root).exists():
        text = f"dataset.root: {root} is not on this machine: data and networks are checked on the cluster only"
        return Portable(config, (text,))
    return Portable(config, check(config, composed, metric_problems).warnings)


def _storage(config: Config) -> Iterator[Problem]:
    storage = config.cluster.storage
    if not is_url(storage) and not Path(storage).is_absolute():
        yield Problem(
            "cluster.storage",
            f"'{storage}' would be a folder of whichever node; give a URL, or the path of a folder that every node "
            f"sees: cluster.storage=s3://BUCKET/runs or cluster.storage=/mnt/shared/runs",
        )


def _relative(config: Config, mapping: Mapping[str, Any]) -> Iterator[Problem]:
    """Paths that were relative to this directory, which no node knows."""
    for path, given in _texts(mapping, ()):
        became: Any = config
        for part in path:
            became = _inside(became, part)
        absolute = isinstance(became, str | Path) and Path(became).is_absolute()
        if absolute and not Path(given).is_absolute():
            yield Problem(
                ".".join(map(str, path)),
                f"'{given}' is a path of this machine ({became}); give the absolute path that every node sees",
            )


def _inside(value: Any, part: Any) -> Any:
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, list | tuple):
        return value[part] if isinstance(part, int) and part < len(value) else None
    return getattr(value, str(part), None)


def _texts(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(value, str):
        yield path, value
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _texts(item, (*path, key))
