"""What moves a player's weights, and how fast."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from gandist.contract.component import Component


class Schedule(BaseModel):
    """How a learning rate changes with the images seen."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    warmup: int = Field(default=0, ge=0)
    """Images over which the learning rate rises linearly from 0."""
    decay: Literal["none", "linear", "cosine"] = "none"
    """How it falls from its full value to `floor` at the run's last image, after the warm-up and `hold`."""
    hold: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the run before the decay begins."""
    floor: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the full value at which the fall ends."""

    def factor(self, images: int, total: int) -> float:
        """What the learning rate is multiplied by after `images` of `total` images."""
        warm = min(1.0, (images + 1) / self.warmup) if self.warmup else 1.0
        begin = max(self.warmup, self.hold * total)
        progress = min(1.0, max(0.0, (images - begin) / max(1.0, total - begin)))
        if self.decay == "none":
            return warm
        left = 1.0 - progress if self.decay == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
        return warm * (self.floor + (1.0 - self.floor) * left)


class Optimizer(Component):
    """What moves a player's weights."""

    kind: ClassVar[str] = "optimizers"

    lr: float = Field(default=2e-4, gt=0, allow_inf_nan=False)
    """Learning rate."""
    schedule: Schedule = Schedule()
    """Warm-up and decay of the learning rate."""
    clip: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Largest Euclidean norm of the player's whole gradient, which is scaled down to it; null for no limit."""

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimizer over these parameters."""
        raise TypeError(f"{type(self).__name__} has no build(parameters)")

    def settings(self, images: int) -> dict[str, Any]:
        """Entries of the optimizer's parameter groups, apart from `lr`, that change with the images seen."""
        return {}
