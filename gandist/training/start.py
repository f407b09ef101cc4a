"""Players that a run takes from another one before its first step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from gandist.config.schema import Config
from gandist.config.start import Start
from gandist.errors import CheckpointError, ConfigError, did_you_mean
from gandist.training import checkpoint
from gandist.training.mirror import CHECKPOINTS
from gandist.training.smoothing import entry

MEMORY = "memory"
"""What stands beside the players, and their averages, in a checkpoint."""
Flat = dict[str, dict[str, Tensor]]
"""Player → its weights and buffers by name."""


def read(start: Start, networks: Mapping[str, nn.Module], acting: Iterable[str]) -> Flat:
    """What to begin with: the state of each player, and of the averages of those that take turns, by their entry.

    networks: of this run, by name. acting: the players that take turns. Raises ConfigError that names the run, the
    player or the tensor that does not fit.
    """
    path = _checkpoint(start.place)
    try:
        flat, _ = checkpoint.load(path)
    except CheckpointError as error:
        raise ConfigError(f"start.from: {error}") from None
    there = {name.partition(".")[0] for name in flat} - {MEMORY}
    acting = set(acting)
    taken: Flat = {}
    for player in _players(start, networks, there - {entry(name) for name in there}, path):
        average = entry(player) if entry(player) in there else player
        # What no turn moves should be the best that there is.
        source = player if player in acting else average
        taken[player] = _fitting(networks[player], flat, source, player, path)
        if player in acting:
            taken[entry(player)] = _fitting(networks[player], flat, average, player, path)
    return taken


def _checkpoint(place: Path) -> Path:
    if not place.is_dir():
        near = did_you_mean(place.name, _runs(place.parent))
        raise ConfigError(f"start.from: there is no run {place}{near}")
    if (place / checkpoint.MANIFEST).is_file() or checkpoint.step_of(place) is not None:
        return place
    path, damaged = checkpoint.newest(place / CHECKPOINTS)
    if path is None:
        worst = "; ".join(f"{bad.name}: {wrong}" for bad, wrong in damaged.items())
        why = f"all its checkpoints are damaged ({worst})" if damaged else "it has no checkpoint"
        raise ConfigError(f"start.from: {place}: {why}; train it first, or name another run")
    return path


def _runs(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if (path / CHECKPOINTS).is_dir()] if folder.is_dir() else []


def _players(start: Start, networks: Mapping[str, nn.Module], there: set[str], path: Path) -> list[str]:
    if start.players is None:
        both = [name for name in networks if name in there]
        if not both:
            raise ConfigError(
                f"start.from: {path} has the players {', '.join(sorted(there))}, and this run {', '.join(networks)}: "
                f"none in common"
            )
        return both
    for name in start.players:
        if name not in networks:
            known = ", ".join(networks)
            raise ConfigError(
                f"start.players: this run has no {name}{did_you_mean(name, networks)}; its players are {known}"
            )
        if name not in there:
            known = ", ".join(sorted(there))
            raise ConfigError(f"start.players: {path} has no {name}; its players are {known}")
    return list(start.players)


def _fitting(network: nn.Module, flat: Mapping[str, Tensor], source: str, player: str, path: Path) -> dict[str, Tensor]:
    theirs = {name.removeprefix(f"{source}."): t for name, t in flat.items() if name.startswith(f"{source}.")}
    mine = network.state_dict()
    for name in (*mine, *theirs):
        tensor = f"{player}.{name}"
        if name not in theirs:
            raise ConfigError(f"start.players: {path} has no {tensor}; give this run the architecture of that one")
        if name not in mine:
            raise ConfigError(f"start.players: this run has no {tensor}; give it the architecture of {path}")
        if mine[name].shape != theirs[name].shape:
            raise ConfigError(
                f"start.players: {tensor} has shape {tuple(mine[name].shape)} here and {tuple(theirs[name].shape)} in "
                f"{path}; give this run the architecture of that one"
            )
    return theirs


def frozen_parts(start: Start | None, networks: Mapping[str, nn.Module], acting: Iterable[str]) -> dict[str, set[str]]:
    """Player → names of its parameters that training leaves as they are.

    Raises ConfigError for a name that no parameter begins with, and for a player that takes turns and could not move.
    """
    frozen: dict[str, set[str]] = {name: set() for name in networks}
    for part in start.freeze if start else ():
        player, _, inner = part.partition(".")
        if player not in networks:
            near = did_you_mean(player, networks)
            raise ConfigError(f"start.freeze: there is no player {player}{near}; players are {', '.join(networks)}")
        names = [name for name, _ in networks[player].named_parameters()]
        found = {name for name in names if not inner or name == inner or name.startswith(f"{inner}.")}
        if not found:
            raise ConfigError(f"start.freeze: the {player} has no parameter {inner}{did_you_mean(inner, names)}")
        frozen[player] |= found
    for role in acting:
        if role in networks and len(frozen[role]) == sum(1 for _ in networks[role].named_parameters()):
            raise ConfigError(
                f"start.freeze: all of the {role} is frozen, but the loss plays its turns; freeze a part of it, or "
                f"choose a loss that does not play it"
            )
    return frozen


def require(config: Config, networks: Mapping[str, nn.Module]) -> None:
    """Raises ConfigError if the config's start cannot be made with these networks."""
    acting = dict.fromkeys(config.loss.turns)
    frozen_parts(config.start, networks, acting)
    if config.start is not None:
        read(config.start, networks, acting)
