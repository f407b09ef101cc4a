"""Gradients averaged in shared memory: the right mean on every rank, no trace left, no endless wait for the dead."""

from __future__ import annotations

import errno
import multiprocessing
import os
import platform
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from gandist.testing.ranks import Ranks
from gandist.training import exchange as module
from gandist.training.exchange import CHUNK, Exchange
from tests.small_runs import on_ranks

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux", reason="ranks share memory on x86-64 Linux only"
)
CPU = torch.device("cpu")
LENGTHS = (1, 7, CHUNK // 4, CHUNK // 4 + 1, 3 * CHUNK // 4 + 5)
"""In float32: one value, part of a slot, a whole one, a little more, several."""


def _values(rank: int, round_: int, length: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * round_ + rank)
    return torch.randn(length, generator=generator).to(dtype)


def _open_memory() -> list[Path]:
    files = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return [entry for entry in files if os.path.realpath(entry).startswith("/memfd:gandist")]


def averaged(rank: int, world: int) -> list[tuple[Tensor, Tensor]]:
    exchange = Exchange.open(CPU, timeout=30)
    assert exchange is not None
    found = []
    for number, length in enumerate(LENGTHS * 3):
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            every = [_values(other, number, length, dtype) / world for other in range(world)]
            expected = every[0]
            for other in every[1:]:
                expected = expected + other
            mine = _values(rank, number, length, dtype)
            if number % 2 == rank % 2:
                # Now and then one is late, and another one a piece ahead.
                time.sleep(0.002)
            exchange.average(mine)
            found.append((mine, expected))
    return found


@pytest.mark.parametrize("world", [2, 3])
def test_the_mean_is_the_same_bits_on_every_rank(world: int):
    for result in on_ranks(world, averaged):
        for mine, expected in result:
            assert torch.equal(mine, expected)


def told(rank: int, world: int) -> list[int]:
    exchange = Exchange.open(CPU, timeout=30)
    assert exchange is not None
    words = []
    for number in range(50):
        if rank == 0:
            exchange.tell(number * number)
        exchange.average(torch.ones(3))
        if number % 3 == rank:
            # Somebody is late to read, and rank 0 far into the next round.
            time.sleep(0.003)
        words.append(exchange.told())
    return words


def test_what_rank_0_tells_is_read_in_the_same_round_by_all():
    assert on_ranks(3, told) == [[number * number for number in range(50)]] * 3


def _no_room(file: int, offset: int, size: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def opened(rank: int, world: int, stranger: str, room: bool) -> bool:
    if stranger == "host" and rank == 1:
        module._host = lambda: ("another",)
    if stranger == "processor" and rank == 1:
        platform.machine = lambda: "aarch64"
    if not room and rank == 0:
        os.posix_fallocate = _no_room
    return Exchange.open(CPU, timeout=30) is not None


@pytest.mark.parametrize(("stranger", "room"), [("host", True), ("processor", True), ("", False)])
def test_ranks_of_two_hosts_or_without_room_use_the_process_group(stranger: str, room: bool):
    group = Ranks(2)
    try:
        group.run(_refused, stranger, room)
    finally:
        group.close()


def _refused(rank: int, world: int, stranger: str, room: bool) -> None:
    assert not opened(rank, world, stranger, room)
    assert not _open_memory()
    # The ranks are in step with each other all the same.
    total = torch.ones(1)
    dist.all_reduce(total)
    assert total.item() == world


def _left_alone(rank: int, pipe: Connection) -> None:
    exchange = Exchange.open(CPU, timeout=300)
    assert exchange is not None
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    with pytest.raises(RuntimeError) as raised:
        exchange.average(torch.ones(10))
    pipe.send(str(raised.value))


def _joined(rank: int, meeting: str, pipe: Connection) -> None:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    _left_alone(rank, pipe)
    os._exit(0)


def test_a_rank_whose_process_is_gone_is_named(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    processes = [context.Process(target=_joined, args=(rank, str(tmp_path / "meeting"), there)) for rank in range(2)]
    for process in processes:
        process.start()
    try:
        # Nobody has waited for rank 1 yet: it is a zombie, as it may be on a busy host.
        assert here.poll(60), "rank 0 waits for a process that is gone"
        assert "rank 1 is gone" in here.recv()
    finally:
        for process in processes:
            process.kill()
            process.join()


def _late(rank: int, world: int, folder: str) -> None:
    exchange = Exchange.open(CPU, timeout=2)
    assert exchange is not None
    if rank == 0:
        with pytest.raises(RuntimeError, match=r"rank 1 did not come .* within 2 s \(cluster.timeout\)"):
            exchange.average(torch.ones(10))
    dist.barrier()


def test_a_wait_has_an_end_that_names_the_rank(tmp_path: Path):
    group = Ranks(2)
    try:
        group.run(_late, str(tmp_path))
    finally:
        group.close()
