"""Convolutional players for semi-supervised learning."""

from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts, Noise, Verdict
from gandist_architectures.layers import Dropout, LeakyReLU, ReLU, at_least_float32, channels_last, kernels_last
from gandist_architectures.semi_supervised import normed, verdict, without_classes

SLOPE = 0.2
SMALLEST, LARGEST = 16, 128


def halvings(size: int) -> int:
    """How often a size can be halved without coming below 4."""
    count = 0
    while size % 2 == 0 and size >= 8:
        size, count = size // 2, count + 1
    return count


class Generator(nn.Module):
    """A dense layer, then 5×5 convolutions that double the size, batch norm and ReLU between them, tanh at the end.

    The last one has weight norm. Channels halve as the size doubles, from 512 of width 96.
    """

    def __init__(self, channels: int, size: int, latent: int, width: int):
        super().__init__()
        self.latent, doublings = latent, halvings(size)
        self.start = size >> doublings
        wide = [max(4, round(512 * width / 96) >> place) for place in range(doublings)]
        self.dense = nn.Sequential(
            nn.Linear(latent, wide[0] * self.start**2, bias=False), nn.BatchNorm1d(wide[0] * self.start**2), ReLU()
        )
        layers: list[nn.Module] = []
        for before, after in pairwise(wide):
            up = nn.ConvTranspose2d(before, after, 5, stride=2, padding=2, output_padding=1, bias=False)
            layers += [up, nn.BatchNorm2d(after), ReLU()]
        last = nn.ConvTranspose2d(wide[-1], channels, 5, stride=2, padding=2, output_padding=1)
        self.body = nn.Sequential(*layers, normed(last, slope=1.0))

    def draw(self, noise: Noise, n: int) -> Tensor:
        """Latents uniform in [0, 1), (n, latent)."""
        return noise.uniform(n, self.latent)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, latent) → images (B, C, H, W) in [-1, 1]. Labels do not count."""
        maps = self.dense(latents).unflatten(1, (-1, self.start, self.start))
        return torch.tanh(at_least_float32(self.body(channels_last(maps))))


class Discriminator(nn.Module):
    """Nine convolutions with weight norm and LeakyReLU, the third and the sixth of stride 2, dropout before each of the
    three groups, the mean over places, and class logits."""

    def __init__(self, channels: int, classes: int, width: int, input_dropout: float, dropout: float):
        super().__init__()

        def conv(before: int, after: int, kernel: int = 3, stride: int = 1, padding: int = 1) -> list[nn.Module]:
            layer = nn.Conv2d(before, after, kernel, stride=stride, padding=padding)
            return [normed(layer, SLOPE), LeakyReLU(SLOPE)]

        self.body = nn.Sequential(
            Dropout(input_dropout),
            *conv(channels, width),
            *conv(width, width),
            *conv(width, width, stride=2),
            Dropout(dropout),
            *conv(width, 2 * width),
            *conv(2 * width, 2 * width),
            *conv(2 * width, 2 * width, stride=2),
            Dropout(dropout),
            *conv(2 * width, 2 * width, padding=0),
            *conv(2 * width, 2 * width, kernel=1, padding=0),
            *conv(2 * width, 2 * width, kernel=1, padding=0),
        )
        self.head = normed(nn.Linear(2 * width, classes), slope=1.0)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Verdict:
        """Images (B, C, H, W) → logits (B,), class logits (B, K) and features (B, F). Labels do not count."""
        return verdict(self.body(channels_last(images)).mean((2, 3)), self.head)


class SemiSupervisedConv(Architecture):
    """A convolutional classifier with dropout, and a generator (Salimans et al. 2016, their code for CIFAR-10).

    Takes square images, grey or in colour, whose size is a multiple of 4 from 16 to 128. Both players have weight norm.
    """

    name: ClassVar[str] = "semi-supervised-conv"

    latent: int = Field(100, ge=1)
    """Length of the latent vectors, which are uniform."""
    width: int = Field(96, ge=2)
    """Channels of the discriminator's first convolutions; the paper has 96. The generator is in proportion."""
    input_dropout: float = Field(0.2, ge=0.0, lt=1.0)
    """Share of the discriminator's inputs that is dropped, which makes them grey. Take 0 for things on an even ground:
    a classifier that has only seen it speckled errs on the clean one."""
    dropout: float = Field(0.5, ge=0.0, lt=1.0)
    """Share of its feature maps' activations that is. Without any dropout, the number of workers changes nothing."""

    def refuse(self, facts: Facts) -> str | None:
        """Data without classes, points, and images of other sizes."""
        if not facts.images:
            return f"{self.name} judges images, the data set has points: use architecture.name: semi-supervised-mlp"
        height, width = facts.shape[1:]
        if height != width or height % 4 or not SMALLEST <= height <= LARGEST:
            near = min(LARGEST, max(SMALLEST, 4 * round(max(height, width) / 4)))
            return (
                f"{self.name} takes square images whose size is a multiple of 4 from {SMALLEST} to {LARGEST}, the data "
                f"set has {height}×{width}: set dataset.size: {near}"
            )
        return without_classes(self.name, facts)

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Generator and discriminator."""
        channels, size = facts.shape[:2]
        judging = (self.width, self.input_dropout, self.dropout)
        return {
            "generator": kernels_last(Generator(channels, size, self.latent, self.width)),
            "discriminator": kernels_last(Discriminator(channels, facts.classes, *judging)),
        }
