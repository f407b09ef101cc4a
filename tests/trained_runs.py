"""Two small runs that were really trained: digits (images) and ring (points)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from gandist.config.resolve import resolve
from gandist.training.loop import train
from gandist.training.surroundings import Surroundings


def _train(folder: Path, dataset: dict[str, Any], architecture: dict[str, Any], steps: int) -> None:
    sections = {"images": 32 * steps, "batch_size": 32, "save_every": steps // 2}
    given = {"run": {"name": folder.name}, "dataset": dataset, "architecture": architecture}
    config = resolve({**given, "loss": "non-saturating", "train": sections, "evaluate": {"count": 100}})
    text = yaml.safe_dump(config.model_dump(mode="json"))
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(text)
    train(config, config.dataset.open(), Surroundings(folder=folder, config_text=text))


def train_conditional(folder: Path) -> Path:
    """A run of digits by label, trained on the training part for 8 steps: `folder`."""
    architecture = {"name": "dcgan", "width": 8, "latent": 8, "norm": "none", "conditioning": "projection"}
    _train(folder, {"name": "digits", "size": 16, "split": "train"}, architecture, 8)
    return folder


def train_runs(folder: Path) -> Path:
    """The folder with runs `digits`, 20 steps with checkpoints at 10 and 20, and `ring`."""
    _train(folder / "digits", {"name": "digits"}, {"name": "mlp-conv"}, 20)
    _train(folder / "ring", {"name": "gaussians"}, {"name": "mlp", "width": 16}, 4)
    return folder
