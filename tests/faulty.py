"""Losses and players that go wrong in one place, importable by other processes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from gandist import Facts, Turn
from gandist.testing.tiny import BaseLoss, TinyPlayers


class NanOnOneRank(BaseLoss):
    """In the discriminator's turn of one step, the second half of the batch has no finite loss."""

    at: int = 2

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        terms = super().discriminator(turn)
        if turn.step == self.at and turn.span.start > 0:
            terms["total"] = terms["total"] * torch.nan
        return terms


class NanGradient(BaseLoss):
    """In one turn of one step the loss is finite and its gradient is not: the root has no slope at 0."""

    at: int = 3
    role: str = "discriminator"

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        return self._spoilt(turn, super().discriminator(turn))

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        return self._spoilt(turn, super().generator(turn))

    def _spoilt(self, turn: Turn, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        if (turn.step, turn.role) == (self.at, self.role):
            terms["total"] = terms["total"] + (turn.on_fake.logits * 0).square().sum().sqrt()
        return terms


class OutOfMemory(BaseLoss):
    """No memory is left in one step."""

    error: ClassVar[type[Exception]] = torch.OutOfMemoryError

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        if turn.step == 1:
            raise self.error("tried to allocate 20 GiB")
        return super().generator(turn)


class OutOfHostMemory(OutOfMemory):
    """The same on a machine without CUDA, where torch raises a RuntimeError."""

    error: ClassVar[type[Exception]] = RuntimeError

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        if turn.step == 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 GiB")
        return super().generator(turn)


class Raises(BaseLoss):
    """Has an error of its own in one step."""

    name: ClassVar[str] = "raises"

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        if turn.step == 1:
            raise KeyError("no such thing")
        return super().generator(turn)


class Skips(BaseLoss):
    """Leaves parameters without a gradient, and says so."""

    skips_parameters: ClassVar[bool] = True


class Spare(TinyPlayers):
    """A generator with a layer that nothing uses."""

    name: ClassVar[str] = "spare"

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        players = super().build(facts)
        players["generator"].spare = nn.Linear(2, 3)
        return players
