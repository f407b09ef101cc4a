"""Random numbers that belong to a row of the global batch, whatever rank or part computes it."""

import hashlib

import torch
from torch import Tensor


def key(*parts: object) -> int:
    """A 63-bit seed that is a pure function of `parts` (numbers and strings), the same on every machine."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Noise:
    """One named stream of random rows. Row i of what it returns belongs to global row `start + i`.

    Each request draws the numbers of all `total` rows and keeps those of this part, so that any split of the batch
    over ranks and micro-batches sees the same numbers; requests are numbered, so two of them never agree.
    """

    def __init__(self, *parts: object, start: int, stop: int, total: int, device: torch.device, dtype: torch.dtype):
        self._parts, self._start, self._stop, self._total = parts, start, stop, total
        self._device, self._dtype = device, dtype
        self._requests = 0

    def __len__(self) -> int:
        return self._stop - self._start

    def _own_rows(self, draw, rows: int, shape: tuple[int, ...]) -> Tensor:
        if rows != len(self):
            raise ValueError(f"noise was asked for {rows} rows, but this part of the batch has {len(self)}")
        generator = torch.Generator().manual_seed(key(*self._parts, self._requests))
        self._requests += 1
        # Always drawn in float32 on the CPU: the same numbers for every precision and device.
        everyone = draw((self._total, *shape), generator=generator)
        return everyone[self._start : self._stop].to(self._device, self._dtype)

    def uniform(self, rows: int, *shape: int) -> Tensor:
        """Numbers in [0, 1), shape (rows, *shape)."""
        return self._own_rows(torch.rand, rows, shape)

    def normal(self, rows: int, *shape: int) -> Tensor:
        """Standard normal numbers, shape (rows, *shape)."""
        return self._own_rows(torch.randn, rows, shape)
