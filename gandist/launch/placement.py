"""Which nodes of a joined cluster the workers get: asked for, compared with what there is, and waited for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gandist.config.schema import Cluster, Config
from gandist.errors import ConfigError, nearest
from gandist.launch.nodes import alive_nodes, examine_nodes
from gandist.launch.resources import Place, Room, threads, wants_gpu

POLL = 0.5
"""Seconds between two looks at the cluster while it makes room."""
GRAIN = 10_000
"""Ray counts resources in parts of that many to a whole."""
_ACCELERATOR = "accelerator_type:"


@dataclass(frozen=True)
class Seats:
    """What Ray is asked for. bundle: what each worker reserves. strategy: Ray's word for how they are spread.

    accelerator: type of the GPUs, None for any. interface: of the network, None to let NCCL and gloo choose.
    beside: what an evaluation beside the training takes, {} if there is none.
    """

    gpu: bool
    threads: int
    bundle: dict[str, float]
    strategy: str = "PACK"
    accelerator: str | None = None
    interface: str | None = None
    beside: dict[str, float] = field(default_factory=dict)


def local_seats(config: Config, place: Place, before: int | None) -> Seats:
    """Seats in a Ray of our own on this machine, where a logical CPU is no core."""
    gpu = wants_gpu(config, place)
    return Seats(gpu, threads(config.cluster, place, gpu, before), {"GPU": 1} if gpu else {"CPU": 1})


def cluster_place(address: str) -> Place:
    """What the nodes of the cluster that this process has joined have in all, whoever uses it."""
    rooms = []
    for node in alive_nodes():
        have = node["Resources"]
        types = (name.removeprefix(_ACCELERATOR) for name in have if name.startswith(_ACCELERATOR))
        name = node["NodeManagerHostname"] or node["NodeManagerAddress"]
        rooms.append(Room(name, have.get("CPU", 0.0), have.get("GPU", 0.0), tuple(sorted(types))))
    return Place(f"the cluster at {address}", tuple(rooms))


def take_seats(config: Config, address: str, before: int | None, tell: Callable[[str], None]) -> Seats:
    """Waits until the joined cluster has free room for the run, `cluster.wait` seconds at most, and says where.

    before: the threads with which the run began. tell: shows a line. Asking is what makes an autoscaler start nodes.
    Raises ConfigError that says what is asked for and what the cluster has.
    """
    cluster, until = config.cluster, time.monotonic() + config.cluster.wait
    place = cluster_place(address)
    _require_known_accelerator(cluster, place)
    plain = _bundle(cluster, place, wants_gpu(config, place), 1 if cluster.threads == "auto" else cluster.threads)
    if not _fits(config, place):
        tell(f"{_told(config, place)}; waiting for more, {cluster.wait} s at most (cluster.wait)")
        with _asked_for([plain] * cluster.fewest_workers, "PACK"):
            while not _fits(config, place := cluster_place(address)):
                if time.monotonic() > until:
                    raise ConfigError(_refusal(config, place))
                time.sleep(POLL)
    gpu = wants_gpu(config, place)
    number = threads(cluster, place, gpu, before)
    strategy = cluster.placement
    bundle = _bundle(cluster, place, gpu, number)
    if cluster.per_node == 1 and cluster.fewest_workers == cluster.most_workers:
        strategy, bundle = "STRICT_SPREAD", _bundle(cluster.model_copy(update={"per_node": None}), place, gpu, number)
    _require_seats(config, place, gpu, bundle)
    _require_interface(cluster)
    _wait_until_free([bundle] * cluster.fewest_workers, strategy, until, config, place, tell)
    return Seats(gpu, number, bundle, strategy, cluster.accelerator_type, cluster.interface)


def _fits(config: Config, place: Place) -> bool:
    gpu = wants_gpu(config, place)
    number = 1 if config.cluster.threads == "auto" else config.cluster.threads
    return place.workers(config.cluster, gpu, number) >= config.cluster.fewest_workers


def _bundle(cluster: Cluster, place: Place, gpu: bool, number: int) -> dict[str, float]:
    """What a worker reserves. Ray knows no limit of workers on a node, so each takes as many of its CPUs as leave no
    room for one more."""
    bundle: dict[str, float] = {"GPU": 1} if gpu else {"CPU": number}
    if gpu and cluster.accelerator_type is not None:
        bundle[f"{_ACCELERATOR}{cluster.accelerator_type}"] = 0.001
    if cluster.per_node is not None:
        rooms = [room for room in place.rooms if room.workers(cluster, gpu, number)]
        largest = max((room.cpus for room in rooms), default=0.0)
        share = (math.floor(largest * GRAIN / (cluster.per_node + 1)) + 1) / GRAIN
        bundle["CPU"] = max(bundle.get("CPU", 0.0), share)
    return bundle


def _require_seats(config: Config, place: Place, gpu: bool, bundle: dict[str, float]) -> None:
    """Small nodes lose their seats where each worker reserves a share of the largest node's CPUs."""
    cluster, share = config.cluster, bundle.get("CPU", 0.0)
    seats = sum(
        min(room.workers(cluster, gpu, 1), int(room.cpus / share) if share else cluster.fewest_workers)
        for room in place.rooms
    )
    if seats < cluster.fewest_workers:
        nodes = "; ".join(room.told() for room in place.rooms)
        raise ConfigError(
            f"cluster.per_node: on nodes of so different sizes ({nodes}) Ray holds {cluster.fewest_workers} workers to "
            f"{cluster.per_node} a node only where each reserves {share:g} CPUs, and then there is room for {seats}; "
            f"leave cluster.per_node out, or set it to 1"
        )


@contextmanager
def _asked_for(bundles: list[dict[str, float]], strategy: str) -> Iterator[Any]:
    """A reservation that goes with this process, if not before."""
    from ray.util import placement_group, remove_placement_group

    group = placement_group(bundles, strategy=strategy)
    try:
        yield group
    finally:
        remove_placement_group(group)


def _wait_until_free(
    bundles: list[dict[str, float]],
    strategy: str,
    until: float,
    config: Config,
    place: Place,
    tell: Callable[[str], None],
) -> None:
    """Reserves all seats once, so that Ray Train, which would wait for ever, will find them free."""
    with _asked_for(bundles, strategy) as group:
        if group.wait(timeout_seconds=min(2.0, max(POLL, until - time.monotonic()))):
            return
        tell(
            f"{place.name} has room for the run, but it is taken; waiting {config.cluster.wait} s at most for other "
            f"runs to end (cluster.wait)"
        )
        while not group.wait(timeout_seconds=POLL):
            if time.monotonic() > until:
                raise ConfigError(
                    f"cluster.workers: {place.name} has room for {_asked(config, place)}, but not free within "
                    f"{config.cluster.wait} s (cluster.wait): {_in_use()}; see `ray status`, end other runs, ask for "
                    f"fewer workers, or wait longer with cluster.wait=…"
                )


def _in_use() -> str:
    import ray

    have, free = ray.cluster_resources(), ray.available_resources()
    used = [
        f"{have[kind] - free.get(kind, 0):g} of {have[kind]:g} {kind}s" for kind in ("CPU", "GPU") if have.get(kind)
    ]
    return f"{' and '.join(used)} are in use"


def _asked(config: Config, place: Place) -> str:
    cluster, workers = config.cluster, config.cluster.fewest_workers
    if wants_gpu(config, place):
        each = f"a GPU {cluster.accelerator_type}" if cluster.accelerator_type else "a GPU"
    else:
        number = 1 if cluster.threads == "auto" else cluster.threads
        each = "one CPU" if number == 1 else f"{number} CPUs (cluster.threads)"
    most = f", at most {cluster.per_node} a node (cluster.per_node)" if cluster.per_node else ""
    return f"{workers} workers with {each} each{most}"


def _told(config: Config, place: Place) -> str:
    gpu = wants_gpu(config, place)
    room = place.workers(config.cluster, gpu, 1 if config.cluster.threads == "auto" else config.cluster.threads)
    nodes = "; ".join(room.told() for room in place.rooms) or "no nodes"
    return f"{_asked(config, place)} do not fit {place.name}, which has room for {room} ({nodes})"


def _refusal(config: Config, place: Place) -> str:
    """Why the run is not started, and the nearest that could be."""
    cluster = config.cluster
    gpu = wants_gpu(config, place)
    room = place.workers(cluster, gpu, 1 if cluster.threads == "auto" else cluster.threads)
    ways = [f"set cluster.workers={room} or less"] if room else []
    if gpu and place.gpus < cluster.fewest_workers and cluster.accelerator_type is None:
        ways.append("set cluster.gpu=auto or false to train on CPUs")
    ways += ["add nodes", "give an autoscaler more time with cluster.wait=…"]
    key = "cluster.gpu" if gpu and not place.gpus else "cluster.workers"
    return f"{key}: {_told(config, place)} after {cluster.wait} s (cluster.wait); {', or '.join(ways)}"


def _require_known_accelerator(cluster: Cluster, place: Place) -> None:
    wanted = cluster.accelerator_type
    there = sorted({kind for room in place.rooms for kind in room.accelerators})
    if wanted is None or wanted in there:
        return
    from ray.util.accelerators import accelerators

    known = [value for name, value in vars(accelerators).items() if name.isupper() and isinstance(value, str)]
    if wanted in known:
        return
    near = nearest(wanted, [*known, *there])
    hint = f"did you mean {near}? " if near else ""
    raise ConfigError(
        f"cluster.accelerator_type: Ray knows no type {wanted}, and no node of {place.name} says it has one; "
        f"{hint}nodes there have: {', '.join(there) or 'none'}"
    )


def _require_interface(cluster: Cluster) -> None:
    """Every node that may get a worker must have `cluster.interface`: without it gloo or NCCL would fail there."""
    if cluster.interface is None:
        return
    for report in examine_nodes():
        if (report.cpus or report.gpus) and not report.error and cluster.interface not in report.interfaces:
            near = nearest(cluster.interface, report.interfaces)
            hint = f"did you mean {near}? " if near else ""
            raise ConfigError(
                f"cluster.interface: node {report.title} has no network interface {cluster.interface}; {hint}it has: "
                f"{', '.join(report.interfaces)}"
            )
