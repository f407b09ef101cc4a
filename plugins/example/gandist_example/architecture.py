"""An architecture: builds the players for the data that it is told of."""

import math
from itertools import pairwise
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts, Noise


def dense(*sizes: int) -> nn.Sequential:
    """Linear layers of these sizes with LeakyReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


class Generator(nn.Module):
    """Normal latents (B, latent) → images (B, C, H, W) in [-1, 1], or points (B, D)."""

    def __init__(self, latent: int, width: int, shape: tuple[int, ...]):
        super().__init__()
        self.latent, self.shape = latent, shape
        self.layers = dense(latent, width, width, math.prod(shape))

    def draw(self, noise: Noise, n: int) -> Tensor:
        """n latents. Random numbers come from `noise`, so that they are the same on any number of workers."""
        return noise.normal(n, self.latent)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Samples; this architecture makes no use of labels."""
        samples = self.layers(latents).unflatten(1, self.shape)
        return samples.tanh() if len(self.shape) == 3 else samples


class Discriminator(nn.Module):
    """Samples → logits (B,): what it would give to a sigmoid."""

    def __init__(self, width: int, shape: tuple[int, ...]):
        super().__init__()
        self.layers = dense(math.prod(shape), width, width, 1)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (B,)."""
        return self.layers(images.flatten(1)).squeeze(1)


class DensePlayers(Architecture):
    """Two players of three dense layers, for points and for small images."""

    name: ClassVar[str] = "example-dense"

    width: int = Field(default=128, ge=1)
    """Units of a hidden layer."""
    latent: int = Field(default=16, ge=1)
    """Numbers that a sample is made from."""

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """The generator and the discriminator."""
        return {
            "generator": Generator(self.latent, self.width, facts.shape),
            "discriminator": Discriminator(self.width, facts.shape),
        }

    def refuse(self, facts: Facts) -> str | None:
        """Dense layers need a weight per pixel."""
        if math.prod(facts.shape) > 10_000:
            return f"takes samples of at most 10,000 numbers, the data set has {math.prod(facts.shape):,}"
        return None
