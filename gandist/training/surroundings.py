"""What a run is given from outside: ranks, device, folder, and callables to those who watch, steer and score it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gandist.training.mirror import Mirror
from gandist.training.profile import ProfiledSteps
from gandist.training.run import RunView
from gandist.training.writer import Writer

Announce = Callable[..., None]
"""announce("gandist_on_log", step=…, scalars=…): tells every watcher; a watcher that fails is switched off."""


class Evaluator(Protocol):
    """Scores what is trained. All ranks call both methods at the same time."""

    @property
    def pictures(self) -> Mapping[str, Tensor]:
        """What the last `measure` drew, by name: uint8 (C, H, W)."""
        ...

    def prepare(self) -> object:
        """Makes ready what scores need: reference statistics, a trained classifier."""

    def measure(self, players: Mapping[str, nn.Module], seed: int) -> dict[str, float]:
        """The metrics of the players by name, the same on all ranks; the generator is the smoothed one."""
        ...


@dataclass(frozen=True)
class Returned:
    """What came of an evaluation beside the training: scores and pictures by name, or None and the reason."""

    step: int
    scores: dict[str, float] | None
    reason: str = ""
    pictures: Mapping[str, Tensor] = field(default_factory=dict)


class Beside(Protocol):
    """Scores checkpoints in a process of its own while the training goes on, one at a time. Rank 0 has it.

    Nothing that happens to that process is raised here: it comes back as a reason.
    """

    no_room: str
    """Why there was no place for the process when `room` was asked last."""

    @property
    def busy(self) -> bool:
        """Whether an evaluation is at work, or has not been taken yet."""
        ...

    @property
    def returned(self) -> Returned | None:
        """What has come back and was not taken."""
        ...

    def room(self) -> bool:
        """Whether there is a place for the process, or one at work; waits for it a few seconds at most."""
        ...

    def start(self, step: int) -> None:
        """Hands over the checkpoint of a step, which is whole. It must not wait."""
        ...

    def wait(self, seconds: float) -> None:
        """Waits until something has come back, so long at most."""
        ...

    def take(self) -> Returned:
        """What has come back; the next one may start."""
        ...


def _nobody(run: RunView) -> Announce:
    return lambda hook, **facts: None


@dataclass
class Surroundings:
    """The defaults are those of a run in one process that nobody watches."""

    folder: Path
    run_id: str = "local"
    config_text: str = ""
    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    watch: Callable[[RunView], Announce] = _nobody
    """Called once, on rank 0."""
    post: Callable[[str, int, int], None] = lambda phase, step, images: None
    """Where this rank is: phase, step, images."""
    requests: Callable[[], set[str]] = set
    """What has been asked for since the last call: "stop", "save". Called on rank 0 at every step: it must not wait."""
    request: Callable[[str], None] = lambda what: None
    """Asks for it."""
    warn: Callable[[str], None] = lambda text: None
    """Shows a line to the user."""
    until: float | None = None
    """Unix time by which the run must have left with a checkpoint."""
    heartbeats: Callable[[], dict[int, float]] = dict
    """Seconds since each rank was last heard of. Called on rank 0."""
    mirror: Mirror | None = None
    """Where checkpoints go to and come from, if the run lies on object storage; `folder` is this process's own then."""
    writer: Writer = field(default_factory=Writer)
    """Writes rank 0's checkpoints; whoever ends a failed run waits for it."""
    recorded: dict[str, float] = field(default_factory=dict)
    """What watchers have put into the next log line, by key."""
    evaluator: Evaluator | None = None
    beside: Beside | None = None
    """Where `evaluate.async` is set: on rank 0, if there may be room for it."""
    profile: ProfiledSteps | None = None
    """The steps that each rank makes a trace of."""
    versions: dict[str, Any] = field(default_factory=dict)
    """Versions of gandist, torch and the plugins, for the manifest."""
