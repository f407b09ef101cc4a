"""Whether a run fits where it is going, told before anything starts."""

from __future__ import annotations

import os
from dataclasses import dataclass

from gandist.config.schema import Config
from gandist.errors import ConfigError

OVERSUBSCRIBE = 4
"""CPU workers per core at most, on one machine."""


@dataclass(frozen=True)
class Place:
    """What there is: CPU cores and GPUs, of this machine or of a cluster."""

    name: str
    cpus: int
    gpus: int


def this_machine() -> Place:
    """Cores that this process may use, and CUDA devices."""
    import torch

    return Place("this machine", len(os.sched_getaffinity(0)), torch.cuda.device_count())


def wants_gpu(config: Config, place: Place) -> bool:
    """Whether each worker takes a GPU."""
    if config.cluster.gpu == "auto":
        return place.gpus > 0 and place.gpus >= config.cluster.fewest_workers
    return bool(config.cluster.gpu)


def require(config: Config, place: Place, oversubscribe: bool) -> list[str]:
    """Raises ConfigError if the run does not fit the place; returns warnings.

    oversubscribe: CPU workers may outnumber the cores (a local cluster), up to `OVERSUBSCRIBE` a core.
    """
    workers = config.cluster.fewest_workers
    if wants_gpu(config, place):
        if place.gpus < max(1, workers):
            raise ConfigError(
                f"cluster.gpu: {max(1, workers)} workers want a GPU each, {place.name} has {place.gpus}; set "
                f"cluster.gpu=auto or false to train on CPUs, or cluster.workers={place.gpus or 1}"
            )
        return []
    limit = place.cpus * (OVERSUBSCRIBE if oversubscribe else 1)
    if workers > limit:
        most = f"at most {OVERSUBSCRIBE} workers a core" if oversubscribe else "one CPU a worker"
        raise ConfigError(
            f"cluster.workers: {workers} workers do not fit {place.name}, which has {place.cpus} CPUs "
            f"({most}: {limit}); set cluster.workers={limit} or less, or join a larger cluster with --address"
        )
    if workers > place.cpus:
        return [f"{workers} workers share {place.cpus} CPUs: it works, and each is slower"]
    return []
