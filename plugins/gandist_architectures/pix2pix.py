"""pix2pix's networks: a U-Net, and a critic that sees input and output side by side."""

from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from gandist import Architecture, Facts
from gandist_architectures.layers import kernels_last
from gandist_architectures.translators import (
    STRIDE,
    Domains,
    PatchCritic,
    ResidualGenerator,
    UNet,
    smallest_side,
    unfit,
)


class Pix2Pix(Architecture):
    """A U-Net A→B, or a residual generator, and a critic of patches of pairs (Isola et al. 2017, appendix 6.1)."""

    name: ClassVar[str] = "pix2pix"

    generator: Literal["unet", "residual"] = "unet"
    """unet passes details round the bottleneck; residual is CycleGAN's, which knows only its surroundings."""
    width: int = Field(default=64, ge=2)
    """Channels of the generator's first layer; 16 is enough for 64 pixels on CPUs."""
    depth: int = Field(default=6, ge=2, le=10)
    """Halvings of the U-Net, whose images' sides must divide by 2 to this power; the paper has 8 for 256 pixels."""
    blocks: Literal[6, 9] = 6
    """Blocks of the residual generator."""
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Share of the activations that is dropped in three inner levels of the U-Net, in training: the paper's noise."""
    critic_width: int = Field(default=64, ge=2)
    """Channels of the critic's first layer."""
    critic_layers: int = Field(default=3, ge=1, le=5)
    """Strided layers of the critic: 1 judges patches of 16×16 pixels, 2 of 34×34, 3 of 70×70."""

    def refuse(self, facts: Facts) -> str | None:
        """Points, and sides that do not divide by what the generator halves."""
        divisor = 2**self.depth if self.generator == "unet" else STRIDE
        return unfit(self.name, facts, divisor, max(16, smallest_side(self.critic_layers)))

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """A generator with `to_b`, a discriminator with `on_b`, which takes the channels of A and B together."""
        channels = facts.shape[0]
        if self.generator == "unet":
            to_b = UNet(channels, self.width, self.depth, self.dropout)
        else:
            to_b = ResidualGenerator(channels, self.width, self.blocks)
        on_b = PatchCritic(2 * channels, self.critic_width, self.critic_layers)
        return {"generator": kernels_last(Domains(to_b=to_b)), "discriminator": kernels_last(Domains(on_b=on_b))}
