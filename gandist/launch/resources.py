"""Whether a run fits where it is going, told before anything starts."""

from __future__ import annotations

import os
from dataclasses import dataclass

from gandist.config.schema import Cluster, Config
from gandist.errors import ConfigError

OVERSUBSCRIBE = 4
"""CPU workers per core at most, on one machine."""


@dataclass(frozen=True)
class Room:
    """One machine: CPU cores, GPUs, and the types of the GPUs in Ray's words."""

    name: str
    cpus: float
    gpus: float
    accelerators: tuple[str, ...] = ()

    def workers(self, cluster: Cluster, gpu: bool, threads: int) -> int:
        """How many workers it has room for. Those on GPUs take no CPU of their own, as a node has more of them."""
        if gpu:
            wanted = cluster.accelerator_type
            most = int(self.gpus) if wanted is None or wanted in self.accelerators else 0
        else:
            most = int(self.cpus // threads)
        return most if cluster.per_node is None else min(most, cluster.per_node)

    def told(self) -> str:
        """Its name and what it has."""
        gpus = f", {self.gpus:g} GPUs {'/'.join(self.accelerators)}".rstrip() if self.gpus else ""
        return f"{self.name}: {self.cpus:g} CPUs{gpus}"


@dataclass(frozen=True)
class Place:
    """What there is: this machine, or the nodes of a cluster."""

    name: str
    rooms: tuple[Room, ...]

    @property
    def cpus(self) -> int:
        """Cores in all."""
        return int(sum(room.cpus for room in self.rooms))

    @property
    def gpus(self) -> int:
        """GPUs in all."""
        return int(sum(room.gpus for room in self.rooms))

    def workers(self, cluster: Cluster, gpu: bool, threads: int) -> int:
        """How many workers it has room for."""
        return sum(room.workers(cluster, gpu, threads) for room in self.rooms)


def this_machine() -> Place:
    """Cores that this process may use, and CUDA devices."""
    import torch

    return Place("this machine", (Room("here", len(os.sched_getaffinity(0)), torch.cuda.device_count()),))


def wants_gpu(config: Config, place: Place) -> bool:
    """Whether each worker takes a GPU."""
    if config.cluster.gpu == "auto":
        enough = place.gpus > 0 and place.gpus >= config.cluster.fewest_workers
        return enough or config.cluster.accelerator_type is not None
    return bool(config.cluster.gpu)


def threads(cluster: Cluster, place: Place, gpu: bool, before: int | None = None) -> int:
    """`cluster.threads` as a number: for auto the most with which all workers fit the place, at least 1.

    before: the number that the run began with, which it keeps as long as it fits; with another one the last bits of the
    weights would differ.
    """
    if cluster.threads != "auto":
        return cluster.threads

    def fits(number: int) -> bool:
        rooms = [(room, room.workers(cluster, gpu, 1)) for room in place.rooms]
        room_for = sum(min(most, int(room.cpus // number)) for room, most in rooms)
        return room_for >= min(max(1, cluster.most_workers), sum(most for _, most in rooms))

    if before is not None and fits(before):
        return before
    most = int(max((room.cpus for room in place.rooms), default=1))
    return next((number for number in range(most, 0, -1) if fits(number)), 1)


def require(config: Config, place: Place) -> list[str]:
    """Raises ConfigError if the run does not fit this machine; returns warnings.

    CPU workers may outnumber the cores, up to `OVERSUBSCRIBE` a core.
    """
    workers = config.cluster.fewest_workers
    if wants_gpu(config, place):
        if place.gpus < max(1, workers):
            raise ConfigError(
                f"cluster.gpu: {max(1, workers)} workers want a GPU each, {place.name} has {place.gpus}; set "
                f"cluster.gpu=auto or false to train on CPUs, or cluster.workers={place.gpus or 1}"
            )
        return []
    limit = place.cpus * OVERSUBSCRIBE
    if workers > limit:
        raise ConfigError(
            f"cluster.workers: {workers} workers do not fit {place.name}, which has {place.cpus} CPUs "
            f"(at most {OVERSUBSCRIBE} workers a core: {limit}); set cluster.workers={limit} or less, or join a larger "
            f"cluster with --address"
        )
    if workers > place.cpus:
        return [f"{workers} workers share {place.cpus} CPUs: it works, and each is slower"]
    return []
