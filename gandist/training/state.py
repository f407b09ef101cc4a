"""All that a run reads and a checkpoint holds."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gandist.config.schema import Config
from gandist.contract.component import Component
from gandist.contract.facts import Facts
from gandist.contract.recompute import recompute
from gandist.errors import CheckpointError, RunError
from gandist.training import checkpoint, start
from gandist.training.best import BestSoFar, judged
from gandist.training.consistency import broadcast_buffers, require_equal
from gandist.training.exchange import Exchange
from gandist.training.mirror import CHECKPOINTS
from gandist.training.players import Player, build_memories, build_networks, taking_part
from gandist.training.smoothing import Smoothing, entry
from gandist.training.start import MEMORY, frozen_parts
from gandist.training.surroundings import Surroundings
from gandist.training.waiting import on_rank_0
from gandist.training.writer import on_host


@dataclass
class Progress:
    """How far the run is. Data order, latents, schedules and counts follow from `step`, so nothing else is kept."""

    run_id: str
    step: int = 0
    seconds: float = 0.0
    """Of training, over all attempts that survive."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the last evaluation."""
    evaluated: int = 0
    """The step that it scored."""
    best: BestSoFar | None = None
    """Of those before and this one."""
    pending: list[int] = field(default_factory=list)
    """Steps whose checkpoints are still to be scored beside the training."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What watchers keep, by name."""

    def __post_init__(self) -> None:
        """Raises ValueError for what no run of ours has: the id is part of names of files."""
        if isinstance(self.best, dict):
            # As a checkpoint has it.
            self.best = BestSoFar(**self.best)
        if not isinstance(self.run_id, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.run_id):
            raise ValueError(f"the run id {str(self.run_id)[:40]!r} is not letters and digits")
        if type(self.step) is not int or self.step < 0:
            raise ValueError(f"the step is {str(self.step)[:40]}")
        if not isinstance(self.pending, list) or not all(type(step) is int and step >= 0 for step in self.pending):
            raise ValueError(f"the steps to be scored are {str(self.pending)[:40]}")
        if not isinstance(self.kept, dict):
            raise ValueError(f"what watchers keep is {str(self.kept)[:40]}")

    def keep(self, name: str, value: Any) -> None:
        """Has the next checkpoint hold it. Raises TypeError or ValueError for what JSON has no words for."""
        # A checkpoint is read without running anybody's code: an object of some class would make it unreadable.
        self.kept[name] = json.loads(json.dumps(value))


class State:
    """Networks, optimizers, memories, the smoothed players and progress."""

    def __init__(self, config: Config, facts: Facts, around: Surroundings):
        self.config, self.facts, self._around = config, facts, around
        built = build_networks(config, facts)
        self.networks: dict[str, nn.Module] = {
            name: network.to(around.device, around.dtype) for name, network in built.items()
        }
        acting = dict.fromkeys(config.loss.turns)
        for name, network in self.networks.items():
            network.train(name in acting).requires_grad_(name in acting)
        if config.train.channels_last:
            for network in self.networks.values():
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.train.checkpoint_activations:
            for network in self.networks.values():
                recompute(network)
        compiled = self.networks if config.train.compile else {}
        self._compiled: dict[str, Any] = {name: torch.compile(network) for name, network in compiled.items()}
        self.memories = build_memories([config.loss, *config.loss.regularizers, *config.augmentations], facts)
        for memory in self.memories.values():
            memory.to(around.device)
        self.exchange = Exchange.open(around.device, config.cluster.timeout)
        frozen = frozen_parts(config.start, self.networks, acting)
        self.players = {role: Player(role, self.networks[role], config, self.exchange, frozen[role]) for role in acting}
        ema = config.train.ema
        averaged = [role for role in acting if role in ema.players and ema.half_life]
        self.smoothing = {role: Smoothing(self.networks[role], ema) for role in averaged}
        self.progress = Progress(around.run_id)

    @property
    def images(self) -> int:
        """Rows of the batches drawn so far."""
        return self.progress.step * self.config.images_per_step

    @property
    def generator(self) -> nn.Module:
        """What samples are made with: the smoothed generator, or the generator itself where nothing is smoothed."""
        return self.smoothed_players["generator"]

    @property
    def smoothed(self) -> dict[str, nn.Module]:
        """The moving averages, by player."""
        return {role: smoothing.module for role, smoothing in self.smoothing.items()}

    @property
    def smoothed_players(self) -> dict[str, nn.Module]:
        """The networks by name, the smoothed ones in the place of those that are trained."""
        return {**self.networks, **self.smoothed}

    def act(self, role: str) -> Player:
        """The player whose turn it is, with fresh gradients; everybody else is frozen."""
        for name, player in self.players.items():
            player.freeze(name != role)
        self.players[role].optimizer.zero_grad(set_to_none=True)
        return self.players[role]

    def at_the_table(self, role: str, active: Iterable[Component]) -> Mapping[str, nn.Module]:
        """The networks that a turn of `role` calls: compiled ones, but those that may be differentiated twice.

        Without `train.compile` they are the networks themselves. Compiled code has no second derivative.
        """
        if not self._compiled:
            return self.networks
        if not any(component.differentiates or component.per_sample_gradients for component in active):
            return {**self.networks, **self._compiled}
        # The fakes of another player's turn carry no graph at all.
        idle = {name: net for name, net in self._compiled.items() if name == "generator" and role != "generator"}
        return {**self.networks, **idle}

    def count(self, role: str, number: int) -> int:
        """Turns that a player has had before turn `number` of the current step."""
        turns = self.config.loss.turns
        return self.progress.step * turns.count(role) + turns[:number].count(role)

    def update_memories(self, role: str, seen) -> None:
        """Lets every component that keeps memory and took part in the turn learn from what it saw."""
        for component in (*taking_part(self.config.loss, role), *self.config.augmentations):
            if component.key in self.memories:
                with torch.no_grad():
                    component.update(self.memories[component.key], seen)

    def modules(self) -> dict[str, nn.Module]:
        """Everything with tensors of its own, by the name it has in the checkpoint."""
        smoothed = {entry(role): module for role, module in self.smoothed.items()}
        return {**self.networks, **smoothed, **{f"{MEMORY}.{key}": memory for key, memory in self.memories.items()}}

    def tensors(self) -> dict[str, Tensor]:
        """All weights, buffers and memories by flat name."""
        return {
            f"{name}.{key}": tensor
            for name, module in self.modules().items()
            for key, tensor in module.state_dict().items()
        }

    def save(self) -> None:
        """Begins to write a checkpoint; all ranks call it, and it returns when the state is copied to host memory.

        Raises RunError on all ranks if they disagree, or if the checkpoint before could not be written.
        """
        around = self._around
        self.finish_saving()
        # Batch norm's running means follow each rank's own rows. Memories do not: they must agree by themselves.
        broadcast_buffers([*self.networks.values(), *self.smoothed.values()])
        optimizers = {role: player.optimizer.state_dict() for role, player in self.players.items()}
        flat = self.tensors()
        moments = {
            f"optimizer of {role}.{index}.{name}": value
            for role, state in optimizers.items()
            for index, entries in state["state"].items()
            for name, value in entries.items()
            if isinstance(value, Tensor)
        }
        require_equal({**flat, **moments})
        if around.rank == 0:
            about = {
                "run_id": self.progress.run_id,
                "images": self.images,
                "versions": around.versions,
                "facts": asdict(self.facts),
            }
            networks, state = on_host(flat), on_host({"optimizers": optimizers, "progress": asdict(self.progress)})
            folder, step = around.folder / CHECKPOINTS, self.progress.step
            best = self.progress.best
            pending = tuple(self.progress.pending)
            kept = checkpoint.Kept(self.config.train.keep, best.step if best else None, pending)

            def write() -> Path:
                path = checkpoint.save(folder, step, networks, state, around.config_text, about, kept)
                if around.mirror is not None:
                    around.mirror.publish(path, kept)
                return path

            around.writer.start(step, write)

    def finish_saving(self) -> None:
        """Waits for the checkpoint that is being written, on all ranks. Raises RunError on all if it was given up."""
        writer = self._around.writer
        if failure := on_rank_0(lambda: writer.wait() or writer.failure):
            raise RunError(failure)

    def resume(self) -> int | None:
        """Goes back to the newest whole checkpoint of the folder; its step, or None if there is none."""
        path = on_rank_0(self._newest)
        if path is None:
            self._begin()
            return None
        if self._around.mirror is not None and self._around.rank:
            path = self._around.mirror.fetch(path.name, self._around.folder)
        flat, state = checkpoint.load(path)
        self._load_tensors(path, flat)
        try:
            for role, player in self.players.items():
                if role not in state["optimizers"]:
                    raise CheckpointError(f"{path}: has no optimizer of a {role}; it belongs to another run")
                player.optimizer.load_state_dict(state["optimizers"][role])
            self.progress = Progress(**state["progress"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: its state is not one of this run: {error}") from error
        return self.progress.step

    def _begin(self) -> None:
        """Takes the players that the config has from another run."""
        section = self.config.start
        if section is None:
            return
        begun = on_rank_0(lambda: start.read(section, self.networks, self.players))
        modules = self.modules()
        with torch.no_grad():
            for name, tensors in begun.items():
                if name in modules:
                    modules[name].load_state_dict(tensors)

    def _newest(self) -> Path | None:
        folder, mirror = self._around.folder, self._around.mirror
        path, damaged = mirror.restore(folder) if mirror else checkpoint.newest(folder / CHECKPOINTS)
        for bad, wrong in damaged.items():
            instead = f"going on from {path.name}" if path else "starting from the beginning"
            self._around.warn(f"{bad.name} is damaged ({wrong}); {instead}")
        return path

    def _load_tensors(self, path: Path, flat: dict[str, Tensor]) -> None:
        mine = self.tensors()
        missing, extra = sorted(mine.keys() - flat.keys()), sorted(flat.keys() - mine.keys())
        other = [name for name in mine.keys() & flat.keys() if mine[name].shape != flat[name].shape]
        if missing or extra or other:
            example = (missing + extra + other)[0]
            raise CheckpointError(
                f"{path}: belongs to other networks ({len(missing)} tensors missing, {len(extra)} unknown, "
                f"{len(other)} of another shape, such as {example}); use --fresh or another run.name"
            )
        with torch.no_grad():
            for name, tensor in mine.items():
                tensor.copy_(flat[name])

    def judge(self, metrics: dict[str, float], step: int) -> bool:
        """Notes the scores of a step; whether a checkpoint is due, of what is the best so far or the last."""
        progress, wanted = self.progress, self.config.evaluate.best
        progress.metrics, progress.evaluated = metrics, step
        if wanted is None:
            return False
        # Rank 0's: elsewhere the last bits may differ, and all must come to the same conclusion.
        progress.metrics = on_rank_0(lambda: metrics)
        progress.best = judged(progress.best, wanted, progress.metrics.get(wanted.score, math.nan), step)
        return self.exhausted or (progress.best is not None and progress.best.step == progress.step)

    @property
    def exhausted(self) -> bool:
        """Whether no better score is waited for any longer."""
        best = self.progress.best
        return best is not None and best.exhausted(self.config.evaluate.best)

    def share_buffers(self) -> None:
        """Makes what is scored the same on all ranks: buffers follow each rank's own share."""
        broadcast_buffers(list(self.smoothed_players.values()))

    def write_generator(self) -> Path:
        """Writes `generator.safetensors`: the smoothed generator's weights and buffers."""
        path = self._around.folder / "generator.safetensors"
        # One entry, and none that differs between two runs: the file of equal weights has an equal SHA-256.
        checkpoint.write_tensors(path, self.generator.state_dict(), {"step": str(self.progress.step)})
        return path
