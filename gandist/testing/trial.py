"""A few steps of the real training loop on something tiny, and the tensors that it ends with."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from gandist.config.schema import Config
from gandist.contract.components import Architecture, Dataset, Loss
from gandist.testing.ranks import ranks
from gandist.testing.tiny import PlainDescent, RandomSamples, TinyPlayers
from gandist.training import checkpoint
from gandist.training.loop import train
from gandist.training.surroundings import Surroundings


@dataclass(frozen=True)
class Trial:
    """What is trained, and how. Everything in it can be sent to another process."""

    loss: Loss
    architecture: Architecture = field(default_factory=TinyPlayers)
    dataset: Dataset = field(default_factory=RandomSamples)
    batch_size: int = 8
    micro_batch: int | None = None
    steps: int = 3
    precision: Literal["fp32", "bf16"] = "fp32"
    dtype: torch.dtype = torch.float64
    sync_batchnorm: bool = False

    @property
    def config(self) -> Config:
        """The config of the run. The learning rate is high, so that small differences of gradients show."""
        images = self.steps * self.batch_size * sum(self.loss.fresh_batches)
        components = (self.loss, *self.loss.regularizers)
        smoothed = dict.fromkeys(["generator", *(name for one in components for name in one.smooths)])
        train_section = {
            "images": images,
            "batch_size": self.batch_size,
            "micro_batch": self.micro_batch,
            "precision": self.precision,
            "sync_batchnorm": self.sync_batchnorm,
            "log_every": 1,
            "ema": {"half_life": 10, "players": list(smoothed)},
        }
        return Config.model_validate(
            {
                "run": {"name": "trial"},
                "dataset": self.dataset,
                "architecture": self.architecture,
                "loss": self.loss,
                "optimizer": {role: PlainDescent(lr=0.05) for role in self.loss.turns},
                "train": train_section,
            }
        )


def _train(rank: int, world: int, trial: Trial, folder: str) -> None:
    with torch.random.fork_rng():
        around = Surroundings(Path(folder), rank=rank, world=world, dtype=trial.dtype)
        train(trial.config, trial.dataset.open(), around)


def play(trial: Trial, world: int = 1, folder: Path | None = None) -> dict[str, Tensor]:
    """Networks, smoothed generator and memories by flat name after the trial's steps on `world` ranks.

    folder: of the run; the trial goes on from what it finds there. Raises whatever the run raised, a RuntimeError with
    the traceback if there are several ranks.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="gandist-trial-") as own:
            return play(trial, world, Path(own))
    if world == 1:
        _train(0, 1, trial, str(folder))
    else:
        ranks(world).run(_train, trial, str(folder))
    newest, _ = checkpoint.newest(folder / "checkpoints")
    assert newest is not None, "the run left no whole checkpoint"
    return checkpoint.load(newest)[0]


def play_in_two_goes(trial: Trial) -> dict[str, Tensor]:
    """The same as `play`, interrupted in the middle and resumed from the checkpoint."""
    with tempfile.TemporaryDirectory(prefix="gandist-trial-") as own:
        play(replace(trial, steps=trial.steps // 2), folder=Path(own))
        return play(trial, folder=Path(own))


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> tuple[float, str]:
    """The largest difference, relative to tensors larger than 1, and the name of the tensor that has it."""
    assert one.keys() == other.keys(), f"different tensors: {sorted(one.keys() ^ other.keys())}"
    worst, where = 0.0, ""
    for name, mine in one.items():
        theirs = other[name]
        if not mine.numel():
            continue
        mine, theirs = mine.double(), theirs.double()
        gap = ((mine - theirs).abs().max() / mine.abs().max().clamp_min(1)).item()
        # A value that is not finite counts as the largest difference of all.
        gap = gap if gap == gap else float("inf")
        if gap > worst:
            worst, where = gap, name
    return worst, where
