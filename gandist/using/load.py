"""Finds what a run has learnt: no YAML and no data set are needed for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gandist.config.compose import compose
from gandist.config.resolve import resolve
from gandist.config.schema import Config
from gandist.config.yaml import read_yaml
from gandist.contract.facts import Facts
from gandist.errors import CheckpointError, ConfigError, did_you_mean
from gandist.evaluation.cache import read
from gandist.training import checkpoint
from gandist.training.players import build_networks
from gandist.training.start import SMOOTHED
from gandist.using.trained import Trained

GENERATOR = "generator.safetensors"


def load(run: str | Path, device: str | torch.device = "cpu") -> Trained:
    """The smoothed generator of a run folder, or of a checkpoint folder inside one, in eval mode.

    Raises ConfigError if `run` is no such folder or nothing is trained yet, CheckpointError if what is there is
    damaged or does not fit its config.
    """
    path = Path(run)
    if not path.is_dir():
        raise ConfigError(f"{path}: no such run folder{_nearest(path)}{_known(path.parent)}")
    if checkpoint.step_of(path) is not None or (path / checkpoint.MANIFEST).is_file():
        return _of_checkpoint(path, path, torch.device(device))
    if not (path / checkpoint.CONFIG).is_file():
        raise ConfigError(f"{path}: not a run folder, it has no {checkpoint.CONFIG}{_known(path)}")
    newest, damaged = checkpoint.newest(path / "checkpoints")
    final = read(path / GENERATOR)
    step = _step(final[1]) if final else -1
    if newest is not None and (checkpoint.step_of(newest) or 0) > step:
        return _of_checkpoint(path, newest, torch.device(device))
    if final is not None:
        return _of_file(path, newest, final[0], step, torch.device(device))
    if damaged:
        worst = "; ".join(f"{bad.name}: {wrong}" for bad, wrong in damaged.items())
        raise CheckpointError(f"{path}: all checkpoints are damaged ({worst}); train again with --fresh")
    raise ConfigError(f"{path}: nothing is trained yet; wait for its first checkpoint, or go on with gandist train")


def _of_checkpoint(path: Path, folder: Path, device: torch.device) -> Trained:
    if (wrong := checkpoint.damage(folder)) is not None:
        raise CheckpointError(f"{folder}: damaged checkpoint: {wrong}; use the run folder to get the newest whole one")
    config = _config(folder)
    facts, step = _about(folder)
    weights = _weights(folder)
    smoothed = any(name.startswith(f"{SMOOTHED}.") for name in weights)

    def player(name: str) -> nn.Module:
        prefix = SMOOTHED if smoothed and name == "generator" else name
        return _player(folder, config, facts, name, _below(weights, prefix))

    return Trained(path, config, facts, step, player("generator").to(device), player, _names(config, facts))


def _of_file(
    path: Path, newest: Path | None, weights: Mapping[str, Tensor], step: int, device: torch.device
) -> Trained:
    """From generator.safetensors; the facts come from a checkpoint, or from the data set if none was kept."""
    config = _config(path)
    facts = _about(newest)[0] if newest else config.dataset.open().facts

    def player(name: str) -> nn.Module:
        if newest is None:
            raise ConfigError(f"{path}: the {name} is in the checkpoints only, and none is left")
        return _player(newest, config, facts, name, _below(_weights(newest), name))

    generator = _player(path / GENERATOR, config, facts, "generator", weights)
    return Trained(path, config, facts, step, generator.to(device), player, _names(config, facts))


def _config(folder: Path) -> Config:
    """The config of a run or checkpoint, which is complete: one that takes in other files was not written by a run."""
    path = folder / checkpoint.CONFIG
    if "extends" in read_yaml(path).mapping:
        raise CheckpointError(f"{path}: has extends, so it is not the config that a run writes")
    return resolve(compose(path))


def _about(folder: Path) -> tuple[Facts, int]:
    """Facts and step of a whole checkpoint; in its manifest JSON has made lists of tuples."""
    try:
        about = checkpoint.manifest(folder)
        facts: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in about["facts"].items()
        }
        return Facts(**facts), int(about["step"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: {checkpoint.MANIFEST} is not one of a run: {error}") from error


def _weights(folder: Path) -> dict[str, Tensor]:
    try:
        return load_file(folder / checkpoint.NETWORKS)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: {checkpoint.NETWORKS} cannot be loaded: {error}") from error


def _step(metadata: Mapping[str, str]) -> int:
    step = metadata.get("step", "")
    return int(step) if step.isdecimal() else -1


def _below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in weights.items() if name.startswith(start)}


def _names(config: Config, facts: Facts) -> tuple[str, ...]:
    with torch.device("meta"):
        return tuple(build_networks(config, facts))


def _player(place: Path, config: Config, facts: Facts, name: str, weights: Mapping[str, Tensor]) -> nn.Module:
    """One player with these weights, in eval mode, taking no gradients."""
    networks = build_networks(config, facts)
    if name not in networks:
        known = ", ".join(networks)
        raise ConfigError(f"{place}: there is no {name}; {config.architecture.name} builds {known}")
    network = networks[name]
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{place}: does not fit {config.architecture.name} of its config: {reason}") from error
    return network.eval().requires_grad_(False)


def _runs(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / checkpoint.CONFIG).is_file())


def _nearest(path: Path) -> str:
    return did_you_mean(path.name, _runs(path.parent))


def _known(folder: Path) -> str:
    runs = _runs(folder)
    return f"; runs in {folder}: {', '.join(runs[:10])}{', …' if len(runs) > 10 else ''}" if runs else ""
