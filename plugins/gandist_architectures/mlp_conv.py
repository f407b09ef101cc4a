"""The 28×28 classic: dense generator, convolutional discriminator."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts, Noise
from gandist_architectures.convolutions import Collapse, FromImages
from gandist_architectures.layers import Dropout, LeakyReLU, at_least_float32, channels_last, kernels_last

SIZE = 28


class Generator(nn.Module):
    """Dense layers latent-256-512-1024-784·C with LeakyReLU and batch norm, then tanh."""

    def __init__(self, channels: int, latent: int, batch_norm: bool):
        super().__init__()
        self.latent, self.channels = latent, channels
        layers: list[nn.Module] = []
        width = latent
        for wider in (256, 512, 1024):
            # Batch norm takes the mean away again, so a bias before it would be moved by rounding noise only.
            layers.append(nn.Linear(width, wider, bias=not batch_norm))
            layers += [nn.BatchNorm1d(wider)] if batch_norm else []
            layers.append(LeakyReLU(0.2, inplace=True))
            width = wider
        self.body = nn.Sequential(*layers, nn.Linear(width, channels * SIZE * SIZE))

    def draw(self, noise: Noise, n: int) -> Tensor:
        """Standard normal latents, (n, latent)."""
        return noise.normal(n, self.latent)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, latent) → images (B, C, 28, 28) in [-1, 1]. Labels are not used."""
        pixels = torch.tanh(at_least_float32(self.body(latents)))
        return pixels.view(-1, self.channels, SIZE, SIZE)


class Discriminator(nn.Module):
    """5×5 convolutions of stride 2 with 64 and 128 channels, LeakyReLU and dropout, then one logit."""

    def __init__(self, channels: int, dropout: float):
        super().__init__()
        self.body = nn.Sequential(
            FromImages(channels, 64, 5, stride=2, padding=2),
            LeakyReLU(0.2, inplace=True),
            Dropout(dropout),
            nn.Conv2d(64, 128, 5, stride=2, padding=2),
            LeakyReLU(0.2, inplace=True),
            Dropout(dropout),
        )
        self.head = Collapse(128, 1, 7)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (B, C, 28, 28) → logits (B,). Labels are not used."""
        return at_least_float32(self.head(self.body(channels_last(images)))).flatten()


class MlpConv(Architecture):
    """The 28×28 classic: a dense generator and a small convolutional discriminator with dropout."""

    name: ClassVar[str] = "mlp-conv"

    latent: int = Field(100, ge=1)
    """Length of the latent vectors."""
    dropout: float = Field(0.3, ge=0.0, lt=1.0)
    """Share of the discriminator's activations that is dropped."""
    batch_norm: bool = True
    """Batch norm in the generator."""

    def refuse(self, facts: Facts) -> str | None:
        """Anything but 28×28 images, grey or in colour."""
        if facts.images and facts.shape[1:] == (SIZE, SIZE):
            return None
        if not facts.images:
            return "mlp-conv makes 28×28 images, the data set has points: use architecture.name: mlp"
        return (
            f"mlp-conv makes 28×28 images, the data set has {facts.shape[1]}×{facts.shape[2]}: "
            f"set dataset.size: 28, or use architecture.name: dcgan"
        )

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Generator and discriminator."""
        channels = facts.shape[0]
        return {
            "generator": Generator(channels, self.latent, self.batch_norm),
            "discriminator": kernels_last(Discriminator(channels, self.dropout)),
        }
