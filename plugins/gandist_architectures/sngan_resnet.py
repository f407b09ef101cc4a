"""The residual networks of spectrally normalised GANs (Miyato, Kataoka, Koyama & Yoshida 2018, appendix B.4), with the
conditioning of Miyato & Koyama 2018 and the self-attention of Zhang et al. 2019."""

import itertools
import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts, Noise, Verdict
from gandist_architectures.attention import Attention, no_attention_at, with_attention
from gandist_architectures.conditioning import (
    Conditioning,
    GeneratorLabels,
    LabelledLatents,
    Layers,
    Norm,
    batch_norm_by_class,
    label_head,
    unlabelled,
)
from gandist_architectures.layers import ReLU, at_least_float32, channels_last, kernels_last
from gandist_architectures.packing import Packing, mixed_packs, packed
from gandist_architectures.residual import DownBlock, Finish, UpBlock
from gandist_architectures.sizes import wrong_size
from gandist_architectures.spectral import spectral

SIZES = (32, 64, 128)


def stages(size: int, width: int) -> tuple[list[int], list[int]]:
    """Channels of the generator's stages from 4×4 up, and of the discriminator's blocks from the image down.

    At 32 pixels all are alike, 2·width and width (table 3); above, they double towards 4×4 (table 5).
    """
    if size == 32:
        return [2 * width] * 4, [width] * 4
    doubling = [width * 2**level for level in range(int(math.log2(size)) - 2)]
    return [doubling[-1], *reversed(doubling)], [*doubling, doubling[-1]]


def finish(norm: str) -> Finish:
    """Glorot-uniform weights, bias 0 as in the authors' code; spectral norm if `norm` says so."""

    def initialised(layer: nn.Conv2d, gain: float) -> nn.Module:
        nn.init.xavier_uniform_(layer.weight, gain)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        return spectral(layer, norm)

    return initialised


class Generator(nn.Module):
    """A dense layer to 4×4, residual blocks that double the size, batch norm, ReLU, 3×3 convolution, tanh.

    classes: what the latents say beside themselves, 0 for nothing. norm: of the blocks. weights: norm of the weights.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        width: int,
        latent: int,
        classes: int = 0,
        norm: Norm = nn.BatchNorm2d,
        weights: str = "none",
        attention: int = 0,
    ):
        super().__init__()
        wide, _ = stages(size, width)
        self.latent, self.wide = latent, wide[0]
        self.labelled = LabelledLatents(classes, latent) if classes else None
        self.dense = nn.Linear(2 * latent if classes else latent, wide[0] * 16)
        nn.init.xavier_uniform_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)
        spectral(self.dense, weights)
        make = finish(weights)
        blocks = ((UpBlock(a, b, norm, make), 8 * 2**level, b) for level, (a, b) in enumerate(itertools.pairwise(wide)))
        self.blocks = Layers(*with_attention(blocks, attention, lambda layer: make(layer, 1.0)))
        self.head = nn.Sequential(
            nn.BatchNorm2d(wide[-1]), ReLU(inplace=True), make(nn.Conv2d(wide[-1], channels, 3, padding=1), 1.0)
        )

    def draw(self, noise: Noise, n: int) -> Tensor:
        """Standard normal latents, (n, latent)."""
        return noise.normal(n, self.latent)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, latent) → images (B, C, size, size) in [-1, 1]. Labels count if it is conditional."""
        if self.labelled is not None:
            latents = self.labelled(latents, labels)
        small = channels_last(self.dense(latents).view(-1, self.wide, 4, 4))
        return torch.tanh(at_least_float32(self.head(self.blocks(small, labels))))


class Discriminator(nn.Module):
    """Residual blocks that halve the size, the rest at the size reached, ReLU, sum over the pixels, one logit."""

    def __init__(
        self,
        size: int,
        channels: int,
        width: int,
        norm: str,
        conditioning: str = "none",
        classes: int = 0,
        attention: int = 0,
    ):
        super().__init__()
        _, wide = stages(size, width)
        halvings = 2 if size == 32 else len(wide) - 1
        pairs = list(zip([channels, *wide], wide, strict=False))
        make = finish(norm)
        blocks = (
            (DownBlock(a, b, make, i < halvings, i == 0, norm == "layer"), size // 2 ** min(i + 1, halvings), b)
            for i, (a, b) in enumerate(pairs)
        )
        self.blocks = nn.Sequential(*with_attention(blocks, attention, lambda layer: make(layer, 1.0)))
        self.relu = ReLU()
        self.dense = nn.Linear(wide[-1], 1)
        nn.init.xavier_uniform_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)
        spectral(self.dense, norm)
        self.labels = label_head(conditioning, classes, wide[-1], norm)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor | Verdict:
        """Images (B, C, size, size) → logits (B,), with class logits (B, K) if there is an auxiliary classifier."""
        features = self.relu(self.blocks(channels_last(images))).sum((2, 3))
        logits = at_least_float32(self.dense(features)).squeeze(1)
        return logits if self.labels is None else self.labels(logits, features, labels)


class SnganResnet(Architecture):
    """Residual networks (Miyato et al. 2018) for square images of 32, 64 or 128 pixels."""

    name: ClassVar[str] = "sngan-resnet"

    width: int = Field(64, ge=1)
    """Channels of the discriminator's first block; scales both players. The paper's is 128 at 32 pixels, else 64."""
    latent: int = Field(128, ge=1)
    """Length of the latent vectors."""
    norm: Literal["spectral", "layer", "none"] = "spectral"
    """Normalisation in the discriminator. With a gradient penalty take layer or none (Gulrajani et al. 2017)."""
    generator_norm: Literal["spectral", "none"] = "none"
    """Norm of the generator's weights, beside its batch norm; spectral in SAGAN (Zhang et al. 2019, section 4.1)."""
    attention: Attention = 0
    conditioning: Conditioning = "none"
    generator_labels: GeneratorLabels = "batch-norm"
    pack: Packing = 1

    def refuse(self, facts: Facts) -> str | None:
        """Points, images that are not square or of another size, and fields that do not fit them or each other."""
        return (
            wrong_size(self.name, facts, SIZES)
            or no_attention_at(self.name, self.attention, facts.shape[-1])
            or unlabelled(self.name, self.conditioning, facts)
            or mixed_packs(self.name, self.pack, self.conditioning)
        )

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Generator and discriminator."""
        channels, size, _ = facts.shape
        by = self.generator_labels if self.conditioning != "none" else None
        generator = Generator(
            size,
            channels,
            self.width,
            self.latent,
            facts.classes if by == "latent" else 0,
            batch_norm_by_class(facts.classes) if by == "batch-norm" else nn.BatchNorm2d,
            self.generator_norm,
            self.attention,
        )
        judging = (self.width, self.norm, self.conditioning, facts.classes, self.attention)
        discriminator = packed(lambda channels: Discriminator(size, channels, *judging), channels, self.pack)
        return {"generator": kernels_last(generator), "discriminator": kernels_last(discriminator)}
