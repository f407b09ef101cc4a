"""CUT's networks: one generator, whose encoder also serves the contrastive loss, and one critic."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts
from gandist_architectures.layers import kernels_last
from gandist_architectures.translators import STRIDE, Domains, PatchCritic, ResidualGenerator, smallest_side, unfit


class PatchHeads(nn.Module):
    """Two dense layers for each depth of the encoder, and unit length (Park et al. 2020, appendix C.1)."""

    def __init__(self, depths: tuple[int, ...], width: int):
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, width)) for channels in depths
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(module.bias)

    def forward(self, patches: list[Tensor]) -> list[Tensor]:
        """Features of patches (B, P, C) at each depth → the directions that are compared (B, P, width)."""
        return [F.normalize(head(rows), dim=-1) for head, rows in zip(self.heads, patches, strict=True)]


class Cut(Architecture):
    """A residual generator A→B with heads on its encoder, and a critic of patches (Park et al. 2020)."""

    name: ClassVar[str] = "cut"

    width: int = Field(default=64, ge=2)
    """Channels of the generator's first layer; 16 is enough for 64 pixels on CPUs."""
    blocks: Literal[6, 9] = 9
    """Residual blocks."""
    head_width: int = Field(default=256, ge=2)
    """Length of what the contrastive loss compares."""
    critic_width: int = Field(default=64, ge=2)
    """Channels of the critic's first layer."""
    critic_layers: int = Field(default=3, ge=1, le=5)
    """Strided layers of the critic: 1 judges patches of 16×16 pixels, 2 of 34×34, 3 of 70×70."""

    def refuse(self, facts: Facts) -> str | None:
        """Points, and sides that do not divide by 4."""
        return unfit(self.name, facts, STRIDE, max(16, smallest_side(self.critic_layers)))

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """A generator with `to_b` and `heads`, a discriminator with `on_b`."""
        channels = facts.shape[0]
        to_b = ResidualGenerator(channels, self.width, self.blocks)
        heads = PatchHeads(to_b.depths(channels, self.width), self.head_width)
        on_b = PatchCritic(channels, self.critic_width, self.critic_layers)
        return {
            "generator": kernels_last(Domains(to_b=to_b, heads=heads)),
            "discriminator": kernels_last(Domains(on_b=on_b)),
        }
