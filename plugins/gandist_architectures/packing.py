"""Packing: the discriminator judges several samples of one origin together (Lin, Khetan, Fanti & Oh 2018)."""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

Packing = Annotated[
    int,
    Field(
        ge=1,
        le=16,
        description="Samples that the discriminator judges together, all real or all fake (PacGAN, Lin et al. 2018); "
        "1 judges each by itself.",
    ),
]


def mixed_packs(name: str, pack: int, conditioning: str) -> str | None:
    """Why packs and conditioning exclude each other, or None if they do not meet."""
    if pack == 1 or conditioning == "none":
        return None
    return (
        f"{name} has pack: {pack} and conditioning: {conditioning}, but a pack holds samples of several classes: "
        "set pack: 1, or conditioning: none"
    )


class Packed(nn.Module):
    """A discriminator of packs: `pack` neighbouring rows are stacked along the channels, and share one logit.

    Every row gets its pack's logit, so that a mean over rows is a mean over packs. `slopes` sums over rows, and so
    gives `pack` times the slope of the pack's logit at each sample: penalties weigh `pack` times what they do on packs.
    """

    def __init__(self, discriminator: nn.Module, pack: int):
        super().__init__()
        self.discriminator, self.divisor = discriminator, pack

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        """Samples (B, C, …) → logits (B,); B is a multiple of `pack`. Labels are not used."""
        packs = samples.reshape(-1, self.divisor * samples.shape[1], *samples.shape[2:])
        return self.discriminator(packs, None).repeat_interleave(self.divisor)


def packed(build: Callable[[int], nn.Module], channels: int, pack: int) -> nn.Module:
    """The discriminator that `build` makes for so many input channels, of packs if there are any."""
    return build(channels) if pack == 1 else Packed(build(pack * channels), pack)
