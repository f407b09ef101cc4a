"""DCGAN (Radford, Metz & Chintala 2016)."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts, Noise
from gandist_architectures.convolutions import Collapse, FromImages, Project, ToImages
from gandist_architectures.layers import (
    LeakyReLU,
    ReLU,
    at_least_float32,
    channels_last,
    kernels_last,
    layer_norm,
    spectral,
)
from gandist_architectures.sizes import wrong_size

SIZES = (16, 32, 64, 128)


def initialised(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    """The layer with weights from N(0, 0.02²) (section 4) and bias 0."""
    nn.init.normal_(layer.weight, 0.0, 0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def batch_norm(channels: int) -> nn.Module:
    """Batch norm with gains from N(1, 0.02²), as in the authors' code."""
    layer = nn.BatchNorm2d(channels)
    nn.init.normal_(layer.weight, 1.0, 0.02)
    return layer


class Generator(nn.Module):
    """4×4 to `size` by transposed convolutions of stride 2 that halve the channels, the last but one having `width`."""

    def __init__(self, size: int, channels: int, width: int, latent: int):
        super().__init__()
        self.latent = latent
        wide = width * size // 8
        layers = [initialised(Project(latent, wide, 4, bias=False)), batch_norm(wide), ReLU(inplace=True)]
        while wide > width:
            layers.append(initialised(nn.ConvTranspose2d(wide, wide // 2, 4, stride=2, padding=1, bias=False)))
            layers += [batch_norm(wide // 2), ReLU(inplace=True)]
            wide //= 2
        layers.append(initialised(ToImages(wide, channels, 4, stride=2, padding=1)))
        self.body = nn.Sequential(*layers)

    def draw(self, noise: Noise, n: int) -> Tensor:
        """Standard normal latents, (n, latent)."""
        return noise.normal(n, self.latent)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, latent) → images (B, C, size, size) in [-1, 1]. Labels are not used."""
        return torch.tanh(at_least_float32(self.body(latents)))


class Discriminator(nn.Module):
    """`size` to 4×4 by convolutions of stride 2 that double the channels from `width` on, then one logit."""

    def __init__(self, size: int, channels: int, width: int, norm: str):
        super().__init__()
        # The first layer sees the images as they are (section 3): no batch or layer norm there.
        layers: list[nn.Module] = [
            spectral(initialised(FromImages(channels, width, 4, stride=2, padding=1)), norm),
            LeakyReLU(0.2, inplace=True),
        ]
        while size > 8:
            convolution = nn.Conv2d(width, width * 2, 4, stride=2, padding=1, bias=norm != "batch")
            width, size = width * 2, size // 2
            layers.append(spectral(initialised(convolution), norm))
            if norm == "batch":
                layers.append(batch_norm(width))
            elif norm == "layer":
                layers.append(layer_norm(width))
            layers.append(LeakyReLU(0.2, inplace=True))
        layers.append(spectral(initialised(Collapse(width, 1, 4)), norm))
        self.body = nn.Sequential(*layers)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (B, C, size, size) → logits (B,). Labels are not used."""
        return at_least_float32(self.body(channels_last(images))).flatten()


class Dcgan(Architecture):
    """DCGAN (Radford et al. 2016) for square images of 16, 32, 64 or 128 pixels."""

    name: ClassVar[str] = "dcgan"

    width: int = Field(64, ge=1)
    """Channels of the layers next to the images; deeper ones have more. Scales both players."""
    latent: int = Field(100, ge=1)
    """Length of the latent vectors."""
    norm: Literal["batch", "spectral", "layer", "none"] = "batch"
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
