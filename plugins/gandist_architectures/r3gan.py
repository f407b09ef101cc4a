"""R3GAN (Huang, Gokaslan, Kuleshov & Tompkin 2024), configuration E: residual blocks of grouped convolutions."""

import itertools
import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts, Noise, Recomputable
from gandist_architectures.conditioning import unlabelled
from gandist_architectures.convolutions import GroupedConv2d, Pointwise
from gandist_architectures.layers import LeakyReLU, at_least_float32, channels_last, kernels_last
from gandist_architectures.packing import Packing, mixed_packs, packed
from gandist_architectures.resampling import Downsample, Upsample
from gandist_architectures.sizes import wrong_size

SIZES = (16, 32, 64, 128, 256, 512, 1024)
SLOPE = 0.2
RECTIFIED = math.sqrt(2 / (1 + SLOPE**2))
"""Gain that keeps the variance through a leaky ReLU (He et al. 2015, section 2.2)."""


def scaled(layer: nn.Module, gain: float = 1.0) -> nn.Module:
    """The layer with weights from N(0, gain² / inputs), and bias 0."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    nn.init.normal_(weight, 0.0, gain / math.sqrt(weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def pointwise(inputs: int, outputs: int) -> nn.Module:
    """A 1×1 convolution without bias; nothing where the number of channels stays."""
    return scaled(Pointwise(inputs, outputs, bias=False)) if inputs != outputs else nn.Identity()


class Block(Recomputable):
    """Inverted bottleneck: 1×1 to `expansion` times the channels, grouped 3×3, 1×1 back, added to the input.

    There is no normalisation. Instead the last weights begin at 0, and the others smaller the more `blocks` the whole
    network has (Zhang, Dauphin & Ma 2019).
    """

    def __init__(self, channels: int, expansion: int, group: int, blocks: int):
        super().__init__()
        wide, gain = channels * expansion, RECTIFIED * blocks**-0.25
        self.body = nn.Sequential(
            scaled(Pointwise(channels, wide), gain),
            LeakyReLU(SLOPE, inplace=True),
            scaled(GroupedConv2d(wide, 3, wide // group), gain),
            LeakyReLU(SLOPE, inplace=True),
            scaled(Pointwise(wide, channels, bias=False), 0.0),
        )

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        return input + self.body(input)


class Generator(nn.Module):
    """A learnt 4×4 map whose channels the latents scale; stages of blocks with up-sampling between; a 1×1 convolution.

    widths: channels of the stages from 4×4 up. shape: expansion, group and blocks of a stage.
    """

    unbounded = True

    def __init__(self, widths: list[int], channels: int, latent: int, classes: int, shape: tuple[int, int, int]):
        super().__init__()
        expansion, group, blocks = shape
        self.latent = latent
        self.embedding = nn.Embedding(classes, latent) if classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, 0.0, 1 / math.sqrt(classes))
        self.basis = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        self.scales = scaled(nn.Linear(2 * latent if classes else latent, widths[0], bias=False))
        layers: list[nn.Module] = []
        for before, width in itertools.pairwise([0, *widths]):
            layers += [pointwise(before, width), Upsample()] if before else []
            layers += [Block(width, expansion, group, blocks * len(widths)) for _ in range(blocks)]
        self.body = nn.Sequential(*layers, scaled(Pointwise(widths[-1], channels, bias=False)))

    def draw(self, noise: Noise, n: int) -> Tensor:
        """Standard normal latents, (n, latent)."""
        return noise.normal(n, self.latent)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, latent) → images (B, C, size, size), about in [-1, 1]. Labels count if it is conditional."""
        if self.embedding is not None:
            latents = torch.cat([latents, self.embedding(labels).to(latents.dtype)], dim=1)
        scales = self.scales(latents)[:, :, None, None]
        return at_least_float32(self.body(channels_last(self.basis.to(scales.dtype) * scales)))


class Discriminator(nn.Module):
    """The generator's stages in reverse order, to one value per channel of 4×4, and one logit.

    widths: channels of the stages from the image down. shape: expansion, group and blocks of a stage.
    """

    def __init__(self, widths: list[int], channels: int, classes: int, embedding: int, shape: tuple[int, int, int]):
        super().__init__()
        expansion, group, blocks = shape
        layers: list[nn.Module] = [scaled(Pointwise(channels, widths[0], bias=False))]
        for width, after in itertools.pairwise([*widths, 0]):
            layers += [Block(width, expansion, group, blocks * len(widths)) for _ in range(blocks)]
            layers += [Downsample(), pointwise(width, after)] if after else []
        last = widths[-1]
        self.body = nn.Sequential(*layers)
        # A convolution of each channel by itself, with a kernel as large as its input.
        self.basis = nn.Parameter(torch.randn(1, last, 4, 4) / 4)
        self.out = scaled(nn.Linear(last, embedding if classes else 1, bias=False))
        self.embedding = nn.Embedding(classes, embedding) if classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, 0.0, 1 / math.sqrt(classes * embedding))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (B, C, size, size) → logits (B,). Labels count if it is conditional."""
        maps = self.body(channels_last(images))
        out = self.out((maps * self.basis.to(maps.dtype)).sum((2, 3)))
        if self.embedding is not None:
            out = (out * self.embedding(labels)).sum(1, keepdim=True)
        return at_least_float32(out).squeeze(1)


class R3Gan(Architecture):
    """R3GAN (Huang et al. 2024) for square images of 16 to 1024 pixels; its loss is r3gan."""

    name: ClassVar[str] = "r3gan"

    width: int = Field(768, ge=1)
    """Channels of the stages from 4×4 to `wide_to`; above, they halve with each doubling. 1536 for ImageNet."""
    wide_to: int = Field(32, ge=4)
    """Size of the last stage with all channels. 64 in the authors' settings for ImageNet at 64 pixels."""
    blocks: int = Field(2, ge=1)
    """Residual blocks of a stage."""
    expansion: int = Field(2, ge=1)
    """Channels inside a block, as a multiple of those outside."""
    group: int = Field(16, ge=1)
    """Channels of a group of the grouped convolutions. 32 in the authors' settings for ImageNet."""
    latent: int = Field(64, ge=1)
    """Length of the latent vectors, and of the embedding of a label behind them."""
    conditioning: Literal["none", "projection"] = "none"
    """projection: an embedding behind the latents, and a vector of the class that the discriminator projects on. Needs
    labelled data."""
    pack: Packing = 1

    def refuse(self, facts: Facts) -> str | None:
        """Points, images that are not square or of another size, and fields that do not fit them or each other."""
        return (
            wrong_size(self.name, facts, SIZES)
            or self._odd_groups(facts.shape[-1])
            or unlabelled(self.name, self.conditioning, facts)
            or mixed_packs(self.name, self.pack, self.conditioning)
        )

    def _widths(self, size: int) -> list[int]:
        return [self.width // max(1, 2**level // self.wide_to) for level in range(2, size.bit_length())]

    def _odd_groups(self, size: int) -> str | None:
        widths = self._widths(size)
        halved = max(1, size // self.wide_to)
        step = self.group * halved // math.gcd(self.group * halved, self.expansion)
        if widths[-1] and self.width % step == 0:
            return None
        return (
            f"r3gan has {widths[-1]} channels at {size} pixels, times {self.expansion} inside a block, which groups of "
            f"{self.group} do not divide: set width to a multiple of {step}, or group to less"
        )

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Generator and discriminator."""
        channels, size, _ = facts.shape
        classes = facts.classes if self.conditioning != "none" else 0
        widths, shape = self._widths(size), (self.expansion, self.group, self.blocks)

        def discriminator(inputs: int) -> nn.Module:
            return Discriminator(widths[::-1], inputs, classes, self.width, shape)

        return {
            "generator": kernels_last(Generator(widths, channels, self.latent, classes, shape)),
            "discriminator": kernels_last(packed(discriminator, channels, self.pack)),
        }
