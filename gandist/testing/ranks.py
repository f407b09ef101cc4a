"""Real processes joined by gloo, for checks that need more than one rank."""

from __future__ import annotations

import atexit
import os
import socket
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

Job = Callable[..., None]
"""job(rank, world, *arguments), importable by its name; it may raise."""


class Ranks:
    """`world` processes that stay and do one job after the other together. timeout: seconds of a collective."""

    def __init__(self, world: int, timeout: float = 60.0):
        self.world = world
        self._folder = tempfile.TemporaryDirectory(prefix="gandist-ranks-")
        # Spawned: a fork would take over the threads of this process half alive.
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for rank in range(world):
            here, there = context.Pipe()
            store = Path(self._folder.name) / "store"
            process = context.Process(target=_serve, args=(rank, world, str(store), timeout, there), daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)

    def run(self, job: Job, *arguments: Any, timeout: float = 120.0) -> None:
        """Does `job(rank, world, *arguments)` on every rank.

        Raises RuntimeError if the arguments cannot be sent, or with the traceback of the first rank that raised, and
        TimeoutError if a rank still waits for another one; in the last two cases the processes are gone.
        """
        try:
            message = ForkingPickler.dumps((job, arguments))
        except Exception as error:
            raise RuntimeError(
                f"a component cannot be sent to another process ({error}); define its class at the top of a module"
            ) from error
        for pipe in self._pipes:
            pipe.send_bytes(message)
        pending, deadline = list(self._pipes), time.monotonic() + timeout
        while pending:
            ready = [
                pipe for pipe in wait(pending, max(0.0, deadline - time.monotonic())) if isinstance(pipe, Connection)
            ]
            if not ready:
                self.close()
                raise TimeoutError(f"{len(pending)} of {self.world} ranks were still busy after {timeout:.0f} s")
            for pipe in ready:
                pending.remove(pipe)
                if (failure := _receive(pipe)) is not None:
                    rank = self._pipes.index(pipe)
                    # The others may be waiting for this one in a collective.
                    self.close()
                    raise RuntimeError(f"rank {rank} of {self.world} failed:\n{failure}")

    @property
    def alive(self) -> bool:
        """Whether all processes are there."""
        return all(process.is_alive() for process in self._processes)

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        self._folder.cleanup()


def _receive(pipe: Connection) -> str | None:
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return "its process died"


def _serve(rank: int, world: int, store: str, timeout: float, pipe: Connection) -> None:
    torch.set_num_threads(1)
    if "lo" in (name for _, name in socket.if_nameindex()):
        # All ranks are here; gloo would look up the host's name otherwise, which need not resolve.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world, timeout=timedelta(seconds=timeout)
    )
    while True:
        try:
            job, arguments = pipe.recv()
        except EOFError:
            return
        except Exception:
            pipe.send(f"a component could not be sent to another process:\n{traceback.format_exc()}")
            return
        try:
            job(rank, world, *arguments)
            pipe.send(None)
        except BaseException:
            pipe.send(traceback.format_exc())


_kept: dict[int, Ranks] = {}


def ranks(world: int) -> Ranks:
    """`world` ranks that are kept for the next caller, because starting them takes seconds."""
    if world not in _kept or not _kept[world].alive:
        _kept[world] = Ranks(world)
        atexit.register(_kept[world].close)
    return _kept[world]
