"""Turns made by hand, and players so simple that their losses and slopes can be written out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gandist import Loss, Noise, Turn
from gandist.contract.discovery import installed
from gandist.contract.turn import Moment, Span


def adversarial() -> list[type[Loss]]:
    """The registered losses that a generator and a discriminator play for real samples alone; others have tests with
    their own players and data."""
    found = (loss for loss in installed().components(Loss) if {*loss().turns} == {"generator", "discriminator"})
    return [loss for loss in found if not loss.entries]


class Spread(nn.Module):
    """A generator that stretches its latents."""

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.shape = shape
        self.scale = nn.Parameter(torch.ones(()))

    def draw(self, noise: Noise, n: int) -> Tensor:
        return noise.normal(n, *self.shape)

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        return latents * self.scale


class Linear(nn.Module):
    """D(x) = w·x, whose slope is w everywhere. Keeps what it was asked."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.asked: list[Tensor] = []

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        self.asked.append(images.detach())
        return (images.flatten(1) * self.weight.flatten()).sum(1)


class Bowl(nn.Module):
    """D(x) = a |x|² / 2, whose slope is a x."""

    def __init__(self, a: float):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return 0.5 * self.a * images.flatten(1).square().sum(1)


class Says(nn.Module):
    """A discriminator that answers with the same logits to everything."""

    def __init__(self, logits: list[float], dtype: torch.dtype):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits, dtype=dtype))

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return self.logits


def make_turn(
    role: str, critic: nn.Module, real: Tensor, rows: tuple[int, int] | None = None, images: int = 0, **given: Any
) -> Turn:
    start, stop = rows or (0, len(real))
    return Turn(
        players={"generator": Spread(tuple(real.shape[1:])).to(real.dtype), "discriminator": critic},
        role=role,
        rows={"real": real[start:stop]},
        span=Span(start, stop, len(real)),
        moment=Moment(seed=3, step=5, number=0, count=5, images=images),
        dtype=real.dtype,
        **given,
    )


def log_sigmoid(x: float) -> float:
    return math.log(1 / (1 + math.exp(-x)))


def mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
