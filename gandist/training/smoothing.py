"""Smoothed players: exponential moving averages of their weights, with the half-life in images."""

from __future__ import annotations

import copy

import torch
from torch import nn

from gandist.config.schema import Ema


def entry(player: str) -> str:
    """What the average of that player is called in a checkpoint."""
    return "smoothed" if player == "generator" else f"smoothed-{player}"


class Smoothing:
    """Keeps `module`, a copy of a player whose weights follow it slowly; buffers are copied as they are."""

    def __init__(self, player: nn.Module, ema: Ema):
        self.module = copy.deepcopy(player).eval().requires_grad_(False)
        self._ema = ema
        self._slow = [p.data for p in self.module.parameters()]
        self._fast = [p.data for p in player.parameters()]
        self._buffers = list(zip(self.module.buffers(), player.buffers(), strict=True))

    def decay(self, images: float, seen: int) -> float:
        """What stays of the average after `images` more images, when `seen` have been seen."""
        half_life = float(self._ema.half_life)
        if self._ema.anneal is not None:
            half_life = self._ema.anneal.value(half_life, seen)
        if self._ema.ramp_up:
            half_life = min(half_life, seen * self._ema.ramp_up)
        return 0.5 ** (images / max(half_life, 1e-8))

    @torch.no_grad()
    def follow(self, images: float, seen: int) -> None:
        """One step of the average, after the player's weights have moved."""
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            self._slow, self._fast, 1.0 - self.decay(images, seen)
        )
        for mine, theirs in self._buffers:
            mine.copy_(theirs)
