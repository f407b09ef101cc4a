"""The residual networks of spectrally normalised GANs (Miyato, Kataoka, Koyama & Yoshida 2018, appendix B.4)."""

import itertools
import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts, Noise
from gandist_architectures.convolutions import FromImages, PooledConv2d, UpsampledConv2d
from gandist_architectures.layers import (
    AvgPool2d,
    ReLU,
    at_least_float32,
    channels_last,
    kernels_last,
    layer_norm,
    spectral,
)
from gandist_architectures.sizes import wrong_size

SIZES = (32, 64, 128)


def stages(size: int, width: int) -> tuple[list[int], list[int]]:
    """Channels of the generator's stages from 4×4 up, and of the discriminator's blocks from the image down.

    At 32 pixels all are alike, 2·width and width (table 3); above, they double towards 4×4 (table 5).
    """
    if size == 32:
        return [2 * width] * 4, [width] * 4
    doubling = [width * 2**level for level in range(int(math.log2(size)) - 2)]
    return [doubling[-1], *reversed(doubling)], [*doubling, doubling[-1]]


def initialised(layer: nn.Conv2d, gain: float = 1.0) -> nn.Conv2d:
    """The layer, Glorot-uniform, its bias 0 as in the authors' code."""
    nn.init.xavier_uniform_(layer.weight, gain)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


RESIDUAL = math.sqrt(2)
"""Gain of the convolutions on a residual path, in the authors' code."""


class UpBlock(nn.Module):
    """Residual block that doubles the size."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = initialised(UpsampledConv2d(inputs, outputs), RESIDUAL)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = initialised(nn.Conv2d(outputs, outputs, 3, padding=1), RESIDUAL)
        self.shortcut = initialised(nn.Conv2d(inputs, outputs, 1))
        self.relu = ReLU(inplace=True)

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, 2H, 2W)."""
        hidden = self.conv1(self.relu(self.norm1(input)))
        hidden = self.conv2(self.relu(self.norm2(hidden)))
        # A 1×1 convolution commutes with nearest up-sampling, and is a quarter of the work before it.
        return hidden + F.interpolate(self.shortcut(input), scale_factor=2, mode="nearest")


class DownBlock(nn.Module):
    """Residual block that halves the size if `down`. `first`: it sees the image itself, so nothing comes before it."""

    def __init__(self, inputs: int, outputs: int, norm: str, down: bool, first: bool = False):
        super().__init__()
        conv1 = FromImages(inputs, outputs, 3, padding=1) if first else nn.Conv2d(inputs, outputs, 3, padding=1)
        conv2 = PooledConv2d(outputs, outputs) if down else nn.Conv2d(outputs, outputs, 3, padding=1)
        self.before = nn.Identity() if first else self._activation(inputs, norm)
        self.conv1 = spectral(initialised(conv1, RESIDUAL), norm)
        self.between = self._activation(outputs, norm)
        self.conv2 = spectral(initialised(conv2, RESIDUAL), norm)
        self.pool = AvgPool2d() if down else nn.Identity()
        bends = down or inputs != outputs
        self.shortcut = spectral(initialised(nn.Conv2d(inputs, outputs, 1)), norm) if bends else nn.Identity()

    @staticmethod
    def _activation(channels: int, norm: str) -> nn.Module:
        return nn.Sequential(layer_norm(channels), ReLU(inplace=True)) if norm == "layer" else ReLU()

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H/2, W/2), or of the same size."""
        hidden = self.conv2(self.between(self.conv1(self.before(input))))
        # A 1×1 convolution commutes with average pooling, and is a quarter of the work after it.
        return hidden + self.shortcut(self.pool(input))


class Generator(nn.Module):
    """A dense layer to 4×4, residual blocks that double the size, batch norm, ReLU, 3×3 convolution, tanh."""

    def __init__(self, size: int, channels: int, width: int, latent: int):
        super().__init__()
        wide, _ = stages(size, width)
        self.latent, self.wide = latent, wide[0]
        self.dense = nn.Linear(latent, wide[0] * 16)
        nn.init.xavier_uniform_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)
        self.blocks = nn.Sequential(*(UpBlock(a, b) for a, b in itertools.pairwise(wide)))
        self.head = nn.Sequential(
            nn.BatchNorm2d(wide[-1]), ReLU(inplace=True), initialised(nn.Conv2d(wide[-1], channels, 3, padding=1))
        )

    def draw(self, noise: Noise, n: int) -> Tensor:
        """Standard normal latents, (n, latent)."""
        return noise.normal(n, self.latent)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, latent) → images (B, C, size, size) in [-1, 1]. Labels are not used."""
        small = channels_last(self.dense(latents).view(-1, self.wide, 4, 4))
        return torch.tanh(at_least_float32(self.head(self.blocks(small))))


class Discriminator(nn.Module):
    """Residual blocks that halve the size, the rest at the size reached, ReLU, sum over the pixels, one logit."""

    def __init__(self, size: int, channels: int, width: int, norm: str):
        super().__init__()
        _, wide = stages(size, width)
        halvings = 2 if size == 32 else len(wide) - 1
        pairs = list(zip([channels, *wide], wide, strict=False))
        self.blocks = nn.Sequential(
            *(DownBlock(a, b, norm, down=i < halvings, first=i == 0) for i, (a, b) in enumerate(pairs))
        )
        self.relu = ReLU()
        self.dense = nn.Linear(wide[-1], 1)
        nn.init.xavier_uniform_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)
        spectral(self.dense, norm)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (B, C, size, size) → logits (B,). Labels are not used."""
        features = self.relu(self.blocks(channels_last(images))).sum((2, 3))
        return at_least_float32(self.dense(features)).squeeze(1)


class SnganResnet(Architecture):
    """Residual networks (Miyato et al. 2018) for square images of 32, 64 or 128 pixels."""

    name: ClassVar[str] = "sngan-resnet"

    width: int = Field(64, ge=1)
    """Channels of the discriminator's first block; scales both players. The paper's is 128 at 32 pixels, else 64."""
    latent: int = Field(128, ge=1)
    """Length of the latent vectors."""
    norm: Literal["spectral", "layer", "none"] = "spectral"
    """Normalisation in the discriminator. With a gradient penalty take layer or none (Gulrajani et al. 2017)."""

    def refuse(self, facts: Facts) -> str | None:
        """Points, and images that are not square or of another size."""
        return wrong_size(self.name, facts, SIZES)

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Generator and discriminator."""
        channels, size, _ = facts.shape
        return {
            "generator": kernels_last(Generator(size, channels, self.width, self.latent)),
            "discriminator": kernels_last(Discriminator(size, channels, self.width, self.norm)),
        }
