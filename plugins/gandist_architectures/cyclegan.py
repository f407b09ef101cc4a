"""CycleGAN's networks: a generator for each direction, a critic for each domain."""

from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from gandist import Architecture, Facts
from gandist_architectures.layers import kernels_last
from gandist_architectures.translators import STRIDE, Domains, PatchCritic, ResidualGenerator, smallest_side, unfit


class CycleGAN(Architecture):
    """Residual generators A→B and B→A, and a critic of patches for each domain (Zhu et al. 2017, appendix 7.2)."""

    name: ClassVar[str] = "cyclegan"

    width: int = Field(default=64, ge=2)
    """Channels of the generators' first layer; 16 is enough for 64 pixels on CPUs."""
    blocks: Literal[6, 9] = 6
    """Residual blocks; the paper has 6 for 128 pixels and 9 from 256 on."""
    critic_width: int = Field(default=64, ge=2)
    """Channels of the critics' first layer."""
    critic_layers: int = Field(default=3, ge=1, le=5)
    """Strided layers of the critics: 1 judges patches of 16×16 pixels, 2 of 34×34, 3 of 70×70."""

    def refuse(self, facts: Facts) -> str | None:
        """Points, and sides that do not divide by 4."""
        return unfit(self.name, facts, STRIDE, max(16, smallest_side(self.critic_layers)))

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """A generator with `to_a` and `to_b`, a discriminator with `on_a` and `on_b`."""
        channels = facts.shape[0]
        to_a, to_b = (ResidualGenerator(channels, self.width, self.blocks) for _ in range(2))
        on_a, on_b = (PatchCritic(channels, self.critic_width, self.critic_layers) for _ in range(2))
        return {
            "generator": kernels_last(Domains(to_a=to_a, to_b=to_b)),
            "discriminator": kernels_last(Domains(on_a=on_a, on_b=on_b)),
        }
