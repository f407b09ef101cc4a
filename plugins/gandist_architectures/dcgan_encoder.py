"""DCGAN's players and an encoder, for methods that ask which latents make an image."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts, Verdict
from gandist_architectures.convolutions import Collapse
from gandist_architectures.dcgan import SIZES, Discriminator, Generator, initialised
from gandist_architectures.layers import at_least_float32, channels_last, kernels_last
from gandist_architectures.sizes import wrong_size


class Judge(Discriminator):
    """DCGAN's discriminator that also tells its features."""

    def features(self, images: Tensor) -> Tensor:
        """Images (B, C, size, size) → what the last layer sees, (B, width, 4, 4)."""
        features = channels_last(images)
        *layers, _ = self.body
        for layer in layers:
            features = layer(features)
        return features

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Verdict:
        """Logits (B,) and features. Labels are not used."""
        features = self.features(images)
        return Verdict(at_least_float32(self.body[-1](features)).flatten(), features=features)


class Encoder(Discriminator):
    """A discriminator's layers that end in latents."""

    def __init__(self, size: int, channels: int, width: int, latent: int, norm: str = "layer"):
        super().__init__(size, channels, width, norm)
        self.body[-1] = initialised(Collapse(width * size // 8, latent, 4))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (B, C, size, size) → latents (B, latent). Labels are not used."""
        return at_least_float32(self.body(channels_last(images))).flatten(1)


class DcganEncoder(Architecture):
    """DCGAN's generator, a discriminator that tells its features, and an encoder; for f-anogan and its first stage."""

    name: ClassVar[str] = "dcgan-encoder"

    width: int = Field(64, ge=1)
    """Channels of the layers next to the images; deeper ones have more. Scales all players."""
    latent: int = Field(128, ge=1)
    """Length of the latent vectors."""

    def refuse(self, facts: Facts) -> str | None:
        """Points, and images that are not square or of another size."""
        return wrong_size(self.name, facts, SIZES)

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Generator, discriminator and encoder; the latter two with layer norm, which gradient penalties allow."""
        channels, size, _ = facts.shape
        return {
            "generator": kernels_last(Generator(size, channels, self.width, self.latent)),
            "discriminator": kernels_last(Judge(size, channels, self.width, "layer")),
            "encoder": kernels_last(Encoder(size, channels, self.width, self.latent)),
        }
