"""Samples as they are."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from gandist import Extractor, Source


class Flat(nn.Module):
    """Images uint8 (B, C, H, W) averaged down to sides of at most `size`, in [0, 1], flattened; points unchanged."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, samples: Tensor) -> Tensor:
        """Features (B, D)."""
        if samples.dim() == 4:
            height, width = (min(self.size, side) for side in samples.shape[-2:])
            samples = samples.float()
            if (height, width) != tuple(samples.shape[-2:]):
                samples = F.adaptive_avg_pool2d(samples, (height, width))
            samples = samples.div(255)
        return samples.float().flatten(1)


class Pixels(Extractor):
    """The pixels themselves, averaged down to at most `size`, or the coordinates of points. Needs no labels."""

    name: ClassVar[str] = "pixels"

    size: int = Field(default=32, ge=1, le=64)
    """Largest height and width; their product and the channels are the width of the feature space."""

    def build(self, source: Source, device: torch.device) -> nn.Module:
        """Nothing is learnt."""
        return Flat(self.size)
