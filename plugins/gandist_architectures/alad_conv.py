"""Convolutional players for ALAD on images."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts
from gandist_architectures.alad import Dropped, JointJudge, Norm, PairJudge, hidden
from gandist_architectures.dcgan import SIZES, Discriminator, Generator
from gandist_architectures.dcgan_encoder import Encoder
from gandist_architectures.layers import Dropout, channels_last, kernels_last
from gandist_architectures.sizes import wrong_size


class Strided(nn.Module):
    """The first layers of DCGAN's discriminator, `depth` of them or all but its last."""

    def __init__(self, size: int, channels: int, width: int, norm: str, dropout: float, depth: int | None = None):
        super().__init__()
        whole = Discriminator(size, channels, width, norm).body
        # Without a norm beside the weights' each convolution is followed by its activation alone.
        layers = list(whole)[: 2 * depth] if depth else list(whole)[:-1]
        self.body = nn.Sequential(*layers, Dropout(dropout))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, size, size) → (B, C', size / 2^depth, size / 2^depth)."""
        return self.body(channels_last(images))


class AladConv(Architecture):
    """DCGAN's generator, an encoder and three discriminators for ALAD on square images (Zenati et al. 2018).

    After the authors' networks for SVHN (alad/svhn_utilities.py). Only the generator has batch norm here, and D_xx,
    with kernels of 4×4, sees two images as channels of one. 16, 32, 64 or 128 pixels a side.
    """

    name: ClassVar[str] = "alad-conv"

    width: int = Field(64, ge=1)
    """Channels of the layers next to the images; deeper ones have more. Scales all players."""
    latent: int = Field(100, ge=1)
    """Length of the latent vectors."""
    norm: Norm = "spectral"
    dropout: Dropped = 0.0

    def refuse(self, facts: Facts) -> str | None:
        """Points, and images that are not square or of another size."""
        return wrong_size(self.name, facts, SIZES)

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Generator, encoder, and discriminators `xz`, `xx` and `zz`; D_xx has two strided layers, as there."""
        channels, size, _ = facts.shape
        width, latent, make = self.width, self.latent, (self.norm, self.dropout)
        seen, wide = 2 * size * width, 4 * width
        xz = JointJudge(
            Strided(size, channels, width, *make),
            nn.Sequential(*hidden(latent, wide, *make), *hidden(wide, wide, *make)),
            nn.Sequential(*hidden(seen + wide, 2 * wide, *make)),
            2 * wide,
        )
        xx = PairJudge(Strided(size, 2 * channels, width, *make, depth=2), 2 * width * (size // 4) ** 2)
        zz = PairJudge(nn.Sequential(*hidden(2 * latent, 64, *make), *hidden(64, 32, *make)), 32)
        return {
            "generator": kernels_last(Generator(size, channels, width, latent)),
            "encoder": kernels_last(Encoder(size, channels, width, latent, self.norm)),
            "discriminators": kernels_last(nn.ModuleDict({"xz": xz, "xx": xx, "zz": zz})),
        }
