"""What `gandist doctor` does on the nodes of a cluster: reads their clocks, writes to their storage, and lets them
exchange numbers as the ranks of a run do.

The class travels to the nodes by value: one of them may lack gandist, or have another version of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PINGS = 20
"""Looks at a node's clock; the one with the shortest way there and back counts."""
MEET = 30
"""Seconds within which the nodes must find each other."""
LARGE, SMALL = 32 * 2**20, 8
"""Bytes of the messages by which bandwidth and latency are measured."""


@dataclass(frozen=True)
class Clock:
    """By how many seconds a node's clock is ahead of ours, to within `error` seconds."""

    ahead: float
    error: float


@dataclass(frozen=True)
class Exchange:
    """An all-reduce among nodes. latency: seconds for 8 bytes, median. bandwidth: bytes per second on each node's
    busiest way, 2(n - 1)/n of the message's size over its time, as nccl-tests count it; of 32 MiB, the mean."""

    backend: str
    nodes: int
    latency: float
    bandwidth: float


def clock(pings: list[tuple[float, float, float]]) -> Clock:
    """The clock of a node, from (our time before, its time, our time after) in seconds."""
    before, there, after = min(pings, key=lambda ping: ping[2] - ping[0])
    return Clock(there - (before + after) / 2, (after - before) / 2)


def probe_class() -> type:
    """The class of the actors."""

    class Probe:
        def __init__(self) -> None:
            self.made: list[Path] = []

        def now(self) -> float:
            import time

            return time.time()

        def write(self, storage: str, name: str, size: int) -> float:
            """Writes a file into the folder or below the URL, to the disk; seconds that it took."""
            import os
            import time
            from pathlib import Path

            begun, content = time.perf_counter(), os.urandom(size)
            if "://" in storage:
                from gandist.training.objects import Objects

                Objects(storage).write(name, content)
                return time.perf_counter() - begun
            path = Path(storage, name)
            self.made += [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            return time.perf_counter() - begun

        def seen(self, storage: str, folder: str) -> list[str]:
            """The files that are there, seen from this node."""
            from pathlib import Path

            if "://" in storage:
                from gandist.training.objects import Objects

                return sorted(Objects(storage).list(folder))
            below = Path(storage, folder)
            return sorted(str(path.relative_to(storage)) for path in below.iterdir()) if below.is_dir() else []

        def clear(self, storage: str, folder: str) -> None:
            """Takes away what was written, and the folders that were made for it."""
            import shutil
            from contextlib import suppress
            from pathlib import Path

            if "://" in storage:
                from gandist.training.objects import Objects

                Objects(storage).delete_folder(folder)
                return
            shutil.rmtree(Path(storage, folder), ignore_errors=True)
            for empty in self.made:
                with suppress(OSError):
                    empty.rmdir()

        def place(self) -> tuple[str, int]:
            """Where the others find this one: its address, and a port that is free."""
            import socket

            import ray

            address = ray.util.get_node_ip_address()
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as free:
                free.bind((address, 0))
                return address, free.getsockname()[1]

        def exchange(
            self,
            rank: int,
            world: int,
            at: tuple[str, int],
            backend: str,
            interface: str | None,
            seconds: float,
            limits: tuple[int, int, int],
        ) -> tuple[float, float]:
            """Latency in seconds and bandwidth in bytes per second, as this rank sees them."""
            import os
            import time
            from datetime import timedelta
            from statistics import median

            import torch
            import torch.distributed as dist

            if interface is not None:
                os.environ["GLOO_SOCKET_IFNAME"], os.environ["NCCL_SOCKET_IFNAME"] = interface, f"={interface}"
            meet, large, small = limits
            device = torch.device("cuda" if backend == "nccl" else "cpu")
            host = f"[{at[0]}]" if ":" in at[0] else at[0]
            within = timedelta(seconds=meet + seconds)
            dist.init_process_group(backend, f"tcp://{host}:{at[1]}", timeout=within, rank=rank, world_size=world)
            try:

                def timed(tensor: torch.Tensor) -> float:
                    begun = time.perf_counter()
                    dist.all_reduce(tensor)
                    if backend == "nccl":
                        torch.cuda.synchronize()
                    return time.perf_counter() - begun

                def repeated(size: int, budget: float) -> list[float]:
                    tensor = torch.zeros(size // 4, device=device)
                    timed(tensor)
                    once = torch.tensor([max(timed(tensor) for _ in range(3))], device=device)
                    # All ranks must do it as often.
                    dist.all_reduce(once, op=dist.ReduceOp.MAX)
                    return [timed(tensor) for _ in range(max(3, min(10_000, int(budget / float(once)))))]

                latency = median(repeated(small, seconds * 0.2))
                times = repeated(large, seconds * 0.8)
                return latency, 2 * (world - 1) / world * large * len(times) / sum(times)
            finally:
                dist.destroy_process_group()

    return Probe


def start_probes(nodes: list[dict[str, Any]], gpu: bool) -> list[Any]:
    """An actor on each node, which holds one of its GPUs if `gpu`."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    probe = ray.remote(num_cpus=0, num_gpus=int(gpu), max_restarts=0)(probe_class())
    return [
        probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote()
        for node in nodes
    ]
