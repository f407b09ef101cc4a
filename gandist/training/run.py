"""What hooks and watchers are told about a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gandist.config.schema import Config
from gandist.contract.components import Source
from gandist.contract.facts import Facts


@dataclass(frozen=True)
class RunView:
    """A run, as watchers see it. They can ask for a stop or a checkpoint; they cannot change what is computed.

    id: made once, kept in the checkpoint. folder: of the run, on storage that every node sees.
    resumed_from: step of the checkpoint that this attempt began with, None for a fresh start.
    source: the opened data set; beside rank 0 only.
    alarm(step, name, text, raised): tells all watchers (`gandist_on_alarm`) that something is wrong, or is so no more.
    record(key, value): puts a value into the next log line.
    kept: what watchers had kept in the checkpoint that this attempt began with, by name.
    keep(name, value): has checkpoints hold a value that JSON can say, from the next one on.
    """

    id: str
    name: str
    folder: Path
    config: Config
    facts: Facts
    world_size: int
    resumed_from: int | None
    request: Callable[[Literal["stop", "save"]], None] = field(default=lambda what: None)
    warn: Callable[[str], None] = field(default=lambda text: None)
    source: Source | None = None
    alarm: Callable[[int, str, str, bool], None] = field(default=lambda step, name, text, raised: None)
    record: Callable[[str, float], None] = field(default=lambda key, value: None)
    kept: Mapping[str, Any] = field(default_factory=dict)
    keep: Callable[[str, Any], None] = field(default=lambda name, value: None)

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.config.steps
