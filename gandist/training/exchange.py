"""Averages gradients through memory that the ranks of one machine share.

On one CPU host gloo's sockets and threads cost more than the sum: at each hand-over somebody sleeps and is woken.
Here a rank writes its gradients where the others see them, and waits awake for theirs (`benchmarks/workers.py`).
"""

import mmap
import os
import platform
import secrets
import sys
import time
from pathlib import Path
from typing import Self

import torch
import torch.distributed as dist
from torch import Tensor

from gandist.contract.collective import distributed

CHUNK = 2**20
"""Bytes of a rank's slot; what is longer goes in pieces."""
AWAKE = 0.02
"""Seconds of waiting without sleep; longer waits are for something else than the next gradient."""
NAP, LOOK = 0.0005, 1.0
"""Seconds of one sleep after that, and between two looks whether the others still live."""

_WORD = 8
_LINE = 64
"""Bytes of a cache line: counters of two ranks in one would slow both."""
_HEADER = 4096
_TOLD = (_HEADER - _LINE) // _WORD
"""Where the two words lie that rank 0 tells."""
_MOST = _HEADER // _LINE - 1


class Exchange:
    """Two slots a rank, used in turn, and a counter a rank that says how many pieces it has written.

    Sums go in the order of the ranks, so that every rank gets the same bits, every time.
    """

    def __init__(self, file: int, rank: int, world: int, timeout: float):
        self._rank, self._world, self._timeout = rank, world, timeout
        self._mapped = mmap.mmap(file, _size(world))
        words = memoryview(self._mapped)[:_HEADER].cast("q")
        self._words, self._stride = words, _LINE // _WORD
        self._slots = torch.frombuffer(self._mapped, dtype=torch.uint8, offset=_HEADER).view(2, world, CHUNK)
        self._written = self._rounds = 0
        # The second word of each rank's line.
        words[rank * self._stride + 1] = os.getpid()
        self._awake = AWAKE if world <= len(os.sched_getaffinity(0)) else 0.0

    @classmethod
    def open(cls, device: torch.device, timeout: float) -> Self | None:
        """The exchange of all ranks, or None where they do not share a machine's memory. All ranks must call it.

        timeout: seconds to wait for another rank.
        """
        if not distributed() or device.type != "cpu":
            return None
        # On other processors a counter may be seen before the numbers that it stands for. Each rank speaks for its own
        # host only, and takes part in what follows all the same.
        suited = platform.machine() == "x86_64" and sys.platform == "linux"
        rank, world = dist.get_rank(), dist.get_world_size()
        mark, made = secrets.token_bytes(_WORD), None
        if rank == 0 and suited and world <= _MOST:
            made = _make(_size(world), mark)
        box = [(f"/proc/{os.getpid()}/fd/{made}", mark, _host()) if made is not None else None]
        dist.broadcast_object_list(box, 0)
        if box[0] is None:
            return None
        file = made if rank == 0 else _find(*box[0]) if suited else None
        found = torch.tensor([int(file is not None)])
        dist.all_reduce(found, dist.ReduceOp.MIN)
        exchange = cls(file, rank, world, timeout) if file is not None and found.item() else None
        if file is not None:
            os.close(file)
        dist.barrier()
        return exchange

    def average(self, values: Tensor) -> None:
        """Replaces one-dimensional `values` by their mean over ranks. All ranks must call it with as many."""
        size = CHUNK // values.element_size()
        for piece in values.split(size):
            self._written += 1
            slots = self._slots[self._written % 2].view(values.dtype)[:, : len(piece)]
            # Divided before the sum, as the wrapper does by itself.
            torch.div(piece, self._world, out=slots[self._rank])
            self._words[self._rank * self._stride] = self._written
            self._await_others()
            torch.add(slots[0], slots[1], out=piece)
            for slot in slots[2:]:
                piece.add_(slot)

    def tell(self, word: int) -> None:
        """Rank 0 gives all ranks a number, which they have after the next average: see `told`."""
        self._words[_TOLD + self._rounds % 2] = word

    def told(self) -> int:
        """The number of this round. All ranks must call it once a round, with an average between two rounds."""
        # Rank 0 uses a place again two rounds later, when all have been to the average between and hence read this one.
        self._rounds += 1
        return self._words[_TOLD + (self._rounds - 1) % 2]

    def _await_others(self) -> None:
        # A slot is written again two pieces later, when all have written the piece between and hence read this one.
        begin = looked = time.monotonic()
        for rank in range(self._world):
            while self._words[rank * self._stride] < self._written:
                now = time.monotonic()
                if now - begin < self._awake:
                    os.sched_yield()
                    continue
                time.sleep(NAP)
                if now - looked > LOOK:
                    looked = now
                    self._require_alive(rank)
                    if now - begin > self._timeout:
                        raise RuntimeError(
                            f"process group: rank {rank} did not come to the exchange of gradients within "
                            f"{self._timeout:g} s (cluster.timeout)"
                        )

    def _require_alive(self, rank: int) -> None:
        try:
            state = Path(f"/proc/{self._words[rank * self._stride + 1]}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            state = "X"
        # A zombie is dead and waits for its parent to notice.
        if state in "XZ":
            raise RuntimeError(f"process group: the process of rank {rank} is gone")

    def hook(self, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:  # pyright: ignore[reportPrivateImportUsage]
        """What DistributedDataParallel calls when the gradients of a bucket are there."""
        self.average(bucket.buffer())
        done: torch.futures.Future[Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done


def _size(world: int) -> int:
    return _HEADER + 2 * world * CHUNK


def _make(size: int, mark: bytes) -> int | None:
    """Makes the memory and marks it; None if there is not so much of it.

    It has no name, so that nothing stays behind however the run ends, and needs no room in a container's /dev/shm.
    """
    try:
        file = os.memfd_create("gandist")
    except OSError:
        return None
    try:
        os.posix_fallocate(file, 0, size)
        os.pwrite(file, mark, _HEADER - _WORD)
    except OSError:
        os.close(file)
        return None
    return file


def _host() -> tuple[str, ...]:
    """Which processes and which network this one sees.

    Containers may share memory and yet not see whether the other still lives; and ranks on two networks are two hosts,
    for which a cut link must be what it is.
    """
    return tuple(str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("pid", "net"))


def _find(path: str, mark: bytes, host: tuple[str, ...]) -> int | None:
    """The same memory, opened by another rank; None on another machine, or in a container of its own."""
    if _host() != host:
        return None
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return None
    if os.pread(file, _WORD, _HEADER - _WORD) == mark:
        return file
    os.close(file)
    return None
