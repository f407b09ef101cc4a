"""Runs of a few steps in this process or on several ranks at once, and what came of them on each rank."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from gandist import GandistError, Loss
from gandist.config.schema import Config
from gandist.testing.ranks import ranks
from gandist.testing.tiny import PlainDescent, RandomSamples, TinyPlayers
from gandist.training.loop import train
from gandist.training.run import RunView
from gandist.training.surroundings import Announce, Surroundings


def config(loss: Loss, steps: int = 6, **sections: Any) -> Config:
    """`steps` steps of 8 tiny images; `sections` replace those of the config, `train` is added to."""
    sections["train"] = {
        "images": 8 * steps * sum(loss.fresh_batches),
        "batch_size": 8,
        "log_every": 1,
        "save_every": 2,
        "sample_every": 0,
        "keep": 10,
        **sections.get("train", {}),
    }
    given = {
        "run": {"name": "small"},
        "dataset": RandomSamples(),
        "architecture": TinyPlayers(),
        "loss": loss,
        "optimizer": {role: PlainDescent(lr=0.05) for role in loss.turns},
    }
    return Config.model_validate(given | sections)


@dataclass
class Attempt:
    """What one rank saw. lines: what rank 0 logged, by step."""

    lines: dict[int, dict[str, float]] = field(default_factory=dict)
    run_id: str = ""
    resumed_from: int | None = None
    step: int = 0
    stopped: bool = False
    error: str = ""

    def watch(self, run: RunView) -> Announce:
        self.run_id, self.resumed_from = run.id, run.resumed_from

        def announce(hook: str, **facts: Any) -> None:
            if hook == "gandist_on_log":
                self.lines[facts["step"]] = facts["scalars"]

        return announce


def attempt(
    rank: int, world: int, config: Config, folder: Path, asked: dict[int, str] | None = None, run_id: str = "local"
) -> Attempt:
    """Trains as one rank. asked: in the n-th step somebody asks for this, which only rank 0 is told."""
    seen, questions = Attempt(), 0

    def requests() -> set[str]:
        nonlocal questions
        assert rank == 0, "only rank 0 may be asked"
        questions += 1
        return {what for step, what in (asked or {}).items() if step == questions}

    around = Surroundings(folder, run_id, rank=rank, world=world, watch=seen.watch, requests=requests)
    with torch.random.fork_rng():
        try:
            finished = train(config, config.dataset.open(), around)
            seen.step, seen.stopped = finished.step, finished.stopped
        except GandistError as error:
            seen.error = str(error)
            # As a worker does; the checkpoint before is perhaps still being written.
            around.writer.wait(60)
    return seen


def _keep(rank: int, world: int, job: Callable[..., Any], folder: str, arguments: tuple[Any, ...]) -> None:
    Path(folder, str(rank)).write_bytes(pickle.dumps(job(rank, world, *arguments)))


def on_ranks(world: int, job: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `job(rank, world, *arguments)` returned on each of `world` processes joined by gloo."""
    with tempfile.TemporaryDirectory(prefix="gandist-test-") as folder:
        ranks(world).run(_keep, job, folder, arguments)
        return [pickle.loads(Path(folder, str(rank)).read_bytes()) for rank in range(world)]


def saved_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in a run's folder."""
    return sorted(int(path.name.split("-")[1]) for path in (folder / "checkpoints").iterdir())
