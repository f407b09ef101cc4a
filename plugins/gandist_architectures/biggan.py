"""BigGAN (Brock, Donahue & Simonyan 2019, appendix B)."""

import itertools
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts, Noise
from gandist_architectures.attention import Attention, no_attention_at, with_attention
from gandist_architectures.conditioning import ConditionalBatchNorm, Projection, unlabelled
from gandist_architectures.layers import ReLU, at_least_float32, channels_last, kernels_last
from gandist_architectures.packing import Packing, mixed_packs, packed
from gandist_architectures.residual import DownBlock, UpBlock
from gandist_architectures.sizes import wrong_size
from gandist_architectures.spectral import spectral

STAGES = {
    32: ((4, 4, 4, 4), (4, 4, 4, 4)),
    64: ((16, 16, 8, 4, 2), (1, 2, 4, 8, 16)),
    128: ((16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16)),
}
"""Size → channels, in units of the width, of the generator's stages from 4×4 up (the last is the image's), and of the
discriminator's blocks from the image down (table 4; appendix C.2 and the authors' code for 32 and 64)."""


def finish(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> nn.Module:
    """The layer with orthogonal weights, bias 0 and spectral norm. No gain: blocks are not initialised differently."""
    nn.init.orthogonal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return spectral(layer, "spectral")


class Generator(nn.Module):
    """A dense layer to 4×4, residual blocks that double the size, batch norm, ReLU, 3×3 convolution, tanh.

    The batch norm of a block follows from one embedding of the class, which all share, and from the block's own part of
    the latent vector (figure 15). classes: 0 for none. parts: of the latent vector, 1 where blocks have none.
    """

    def __init__(self, size: int, channels: int, width: int, latent: int, classes: int, embedding: int, **how: int):
        super().__init__()
        wide = [width * factor for factor in STAGES[size][0]]
        self.latent, self.wide, self.part = latent, wide[0], latent // how["parts"]
        self.shared = nn.Embedding(classes, embedding) if classes else None
        if self.shared is not None:
            nn.init.orthogonal_(self.shared.weight)
        condition = (embedding if classes else 0) + (self.part if how["parts"] > 1 else 0)

        def norm(channels: int) -> nn.Module:
            if not condition:
                return nn.BatchNorm2d(channels)
            gain, bias = (finish(nn.Linear(condition, channels, bias=False)) for _ in range(2))
            return ConditionalBatchNorm(nn.BatchNorm2d(channels, affine=False), gain, bias)

        self.dense = finish(nn.Linear(self.part, wide[0] * 16))
        blocks = (
            (UpBlock(a, b, norm, finish), 8 * 2**level, b) for level, (a, b) in enumerate(itertools.pairwise(wide))
        )
        self.blocks = nn.ModuleList(with_attention(blocks, how["attention"], finish))
        self.head = nn.Sequential(
            nn.BatchNorm2d(wide[-1]), ReLU(inplace=True), finish(nn.Conv2d(wide[-1], channels, 3, padding=1))
        )

    def draw(self, noise: Noise, n: int) -> Tensor:
        """Standard normal latents, (n, latent)."""
        return noise.normal(n, self.latent)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, latent) → images (B, C, size, size) in [-1, 1]. Labels count if it is conditional."""
        first, *rest = latents.split(self.part, dim=1)
        told = [] if self.shared is None else [self.shared(labels).to(latents.dtype)]
        hidden = channels_last(self.dense(first).view(-1, self.wide, 4, 4))
        parts = iter(rest)
        for layer in self.blocks:
            if isinstance(layer, UpBlock):
                condition = [*told, next(parts)] if rest else told
                hidden = layer(hidden, torch.cat(condition, dim=1) if condition else None)
            else:
                hidden = layer(hidden)
        return torch.tanh(at_least_float32(self.head(hidden)))


class Discriminator(nn.Module):
    """Residual blocks that halve the size, a last one that does not, ReLU, sum over the pixels, one logit."""

    def __init__(self, size: int, channels: int, width: int, classes: int, attention: int):
        super().__init__()
        wide = [width * factor for factor in STAGES[size][1]]
        halvings = 2 if size == 32 else len(wide) - 1
        blocks = (
            (DownBlock(a, b, finish, i < halvings, i == 0), size // 2 ** min(i + 1, halvings), b)
            for i, (a, b) in enumerate(itertools.pairwise([channels, *wide]))
        )
        self.blocks = nn.Sequential(*with_attention(blocks, attention, finish))
        self.relu = ReLU()
        self.dense = finish(nn.Linear(wide[-1], 1))
        self.labels = Projection(classes, wide[-1], "spectral", nn.init.orthogonal_) if classes else None

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (B, C, size, size) → logits (B,). Labels count if it is conditional."""
        features = self.relu(self.blocks(channels_last(images))).sum((2, 3))
        logits = at_least_float32(self.dense(features)).squeeze(1)
        return logits if self.labels is None else self.labels(logits, features, labels)


class BigGan(Architecture):
    """BigGAN (Brock et al. 2019) for square images of 32, 64 or 128 pixels, with labels unless told otherwise."""

    name: ClassVar[str] = "biggan"

    width: int = Field(96, ge=1)
    """Unit of the channels, 96 in the paper; 64 for CIFAR-10."""
    latent: int = Field(120, ge=1)
    """Length of the latent vectors."""
    hierarchical: bool = True
    """Each block gets a part of the latent vector of its own, beside the first layer (skip-z)."""
    embedding: int = Field(128, ge=1)
    """Length of the shared embedding of a class."""
    attention: Attention = 0
    conditioning: Literal["none", "projection"] = "projection"
    """projection: batch norm by class in the generator, and a vector of the class that the discriminator projects on.
    Needs labelled data; none for data without."""
    pack: Packing = 1

    def refuse(self, facts: Facts) -> str | None:
        """Points, images that are not square or of another size, and fields that do not fit them or each other."""
        return (
            wrong_size(self.name, facts, tuple(STAGES))
            or self._uneven_latent(facts.shape[-1])
            or no_attention_at(self.name, self.attention, facts.shape[-1])
            or unlabelled(self.name, self.conditioning, facts)
            or mixed_packs(self.name, self.pack, self.conditioning)
        )

    def _parts(self, size: int) -> int:
        return len(STAGES[size][0]) if self.hierarchical else 1

    def _uneven_latent(self, size: int) -> str | None:
        parts = self._parts(size)
        if self.latent % parts == 0:
            return None
        return (
            f"biggan divides the latent vector into {parts} parts at {size} pixels, and {self.latent} is no multiple: "
            f"set latent: {max(1, round(self.latent / parts)) * parts}, or hierarchical: false"
        )

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Generator and discriminator."""
        channels, size, _ = facts.shape
        classes = facts.classes if self.conditioning != "none" else 0
        how = {"parts": self._parts(size), "attention": self.attention}
        generator = Generator(size, channels, self.width, self.latent, classes, self.embedding, **how)
        discriminator = packed(
            lambda channels: Discriminator(size, channels, self.width, classes, self.attention), channels, self.pack
        )
        return {"generator": kernels_last(generator), "discriminator": kernels_last(discriminator)}
