"""The order in which samples are seen: a function of seed, stream and epoch, made when it is needed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gandist.contract.noise import key

KEPT = 2
"""Epochs whose orders are at hand: batches reach from one into the next."""


class Orders:
    """The shuffled indices of one stream of `size` samples, epoch by epoch.

    A new order takes the memory of the oldest. Freed and taken anew each epoch, blocks of many megabytes would leave
    holes between what else a long run keeps, and its memory would grow.
    """

    def __init__(self, seed: int, stream: str, size: int):
        self._made_of = seed, stream, size
        self._kept: dict[int, Tensor] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Without what is kept: whoever reads elsewhere makes it there."""
        return Orders, self._made_of

    def indices(self, start: int, stop: int) -> list[int]:
        """The samples at stream positions start ≤ p < stop: item p mod N of the order of epoch p div N, nothing
        dropped."""
        size, chosen = self._made_of[2], list[int]()
        while start < stop:
            epoch, begin = divmod(start, size)
            end = min(size, begin + stop - start)
            chosen += self._epoch(epoch)[begin:end].tolist()
            start += end - begin
        return chosen

    def _epoch(self, number: int) -> Tensor:
        """The order of that epoch, int64 (size,), valid until others have been asked for."""
        if number not in self._kept:
            seed, stream, size = self._made_of
            full = len(self._kept) == KEPT
            room = self._kept.pop(next(iter(self._kept))) if full else torch.empty(size, dtype=torch.int64)
            generator = torch.Generator().manual_seed(key(seed, "order", stream, number))
            self._kept[number] = torch.randperm(size, generator=generator, out=room)
        return self._kept[number]
