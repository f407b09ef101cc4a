"""The residual blocks that spectrally normalised GANs and BigGAN share (Miyato et al. 2018, figure 8)."""

import math
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from gandist import Recomputable
from gandist_architectures.conditioning import Conditional, Norm, apply
from gandist_architectures.convolutions import FromImages, PooledConv2d, UpsampledConv2d
from gandist_architectures.layers import AvgPool2d, ReLU, layer_norm

Finish = Callable[[nn.Conv2d, float], nn.Module]
"""Initialises a convolution with this gain, and normalises its weight if that is wanted."""

RESIDUAL = math.sqrt(2)
"""Gain of the convolutions on a residual path, in the authors' code."""


class UpBlock(Conditional, Recomputable):
    """Residual block that doubles the size."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, finish: Finish):
        super().__init__()
        self.norm1 = norm(inputs)
        self.conv1 = finish(UpsampledConv2d(inputs, outputs), RESIDUAL)
        self.norm2 = norm(outputs)
        self.conv2 = finish(nn.Conv2d(outputs, outputs, 3, padding=1), RESIDUAL)
        self.shortcut = finish(nn.Conv2d(inputs, outputs, 1), 1.0)
        self.relu = ReLU(inplace=True)

    def forward(self, input: Tensor, condition: Any = None) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, 2H, 2W)."""
        hidden = self.conv1(self.relu(apply(self.norm1, input, condition)))
        hidden = self.conv2(self.relu(apply(self.norm2, hidden, condition)))
        # A 1×1 convolution commutes with nearest up-sampling, and is a quarter of the work before it.
        return hidden + F.interpolate(self.shortcut(input), scale_factor=2, mode="nearest")


class DownBlock(Recomputable):
    """Residual block that halves the size if `down`. `first`: it sees the image itself, so nothing comes before it.

    layers: layer norm before each ReLU but the first block's.
    """

    def __init__(self, inputs: int, outputs: int, finish: Finish, down: bool, first: bool, layers: bool = False):
        super().__init__()
        conv1 = FromImages(inputs, outputs, 3, padding=1) if first else nn.Conv2d(inputs, outputs, 3, padding=1)
        conv2 = PooledConv2d(outputs, outputs) if down else nn.Conv2d(outputs, outputs, 3, padding=1)
        self.before = nn.Identity() if first else self._activation(inputs, layers)
        self.conv1 = finish(conv1, RESIDUAL)
        self.between = self._activation(outputs, layers)
        self.conv2 = finish(conv2, RESIDUAL)
        self.pool = AvgPool2d() if down else nn.Identity()
        bends = down or inputs != outputs
        self.shortcut = finish(nn.Conv2d(inputs, outputs, 1), 1.0) if bends else nn.Identity()

    @staticmethod
    def _activation(channels: int, layers: bool) -> nn.Module:
        return nn.Sequential(layer_norm(channels), ReLU(inplace=True)) if layers else ReLU()

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H/2, W/2), or of the same size."""
        hidden = self.conv2(self.between(self.conv1(self.before(input))))
        # A 1×1 convolution commutes with average pooling, and is a quarter of the work after it.
        return hidden + self.shortcut(self.pool(input))
