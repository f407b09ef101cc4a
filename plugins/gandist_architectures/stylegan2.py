"""StyleGAN2 (Karras, Laine, Aittala, Hellsten, Lehtinen & Aila 2020), configuration F, in plain torch operations."""

import itertools
import math
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts, Noise, Recomputable, all_sum
from gandist_architectures.conditioning import unlabelled
from gandist_architectures.layers import at_least_float32, channels_last, kernels_last
from gandist_architectures.resampling import Downsample, Upsample
from gandist_architectures.sizes import wrong_size
from gandist_architectures.style_layers import (
    Mapping,
    MinibatchDeviation,
    ModulatedConv2d,
    ScaledConv2d,
    ScaledLinear,
    StyledConv2d,
    ToColours,
)

SIZES = (16, 32, 64, 128, 256, 512, 1024)
AVERAGING = 0.995
"""What stays of the average style after a forward in training (the authors' code)."""

Latents = Tensor | dict[str, Tensor]
"""(B, latent); or, with mixing: "first" and "second" (B, latent), and "from" (B,), the layer that begins the second."""


class SynthesisBlock(Recomputable):
    """The layers of one size, and their part of the image. The first has no layer that doubles the size."""

    def __init__(self, inputs: int, outputs: int, style: int, size: int, channels: int, noise: bool):
        super().__init__()
        self.up = StyledConv2d(inputs, outputs, style, size, noise, up=True) if inputs else None
        self.convolution = StyledConv2d(outputs, outputs, style, size, noise)
        self.colours = ToColours(outputs, channels, style)

    def forward(self, maps: Tensor, styles: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Maps (B, inputs, H, W) and the styles of its layers → maps and a part of the image (B, channels, 2H, 2W)."""
        if self.up is not None:
            maps = self.up(maps, styles[0])
        maps = self.convolution(maps, styles[-2])
        return maps, self.colours(maps, styles[-1])


class Generator(nn.Module):
    """Latents → styles → images: a mapping network, and a synthesis network that sums an image over its sizes.

    mixing: how often, in training, a sample's layers take their styles from two latents.
    """

    unbounded = True
    average: Tensor

    def __init__(self, mapping: Mapping, latent: int, style: int, widths: list[int], channels: int, **how: Any):
        super().__init__()
        self.latent, self.mixing = latent, how["mixing"]
        self.mapping = mapping
        self.constant = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        pairs = list(itertools.pairwise([0, *widths]))
        self.blocks = nn.ModuleList(
            SynthesisBlock(a, b, style, 4 * 2**level, channels, how["noise"]) for level, (a, b) in enumerate(pairs)
        )
        self.upsample = Upsample()
        self.layers = 2 * len(widths)
        self.register_buffer("average", torch.zeros(style))

    def draw(self, noise: Noise, n: int) -> Latents:
        """Standard normal latents; in training with a second set, and the layer that it begins at, `layers` for never.

        Whether and where a sample mixes is drawn per row, so it is the same on any number of ranks.
        """
        first = noise.normal(n, self.latent)
        if not self.training or self.mixing == 0:
            return first
        second, chance = noise.normal(n, self.latent), noise.uniform(n, 2)
        begin = (1 + chance[:, 1] * (self.layers - 1)).long()
        return {
            "first": first,
            "second": second,
            "from": torch.where(chance[:, 0] < self.mixing, begin, torch.full_like(begin, self.layers)),
        }

    def map(self, latents: Latents, labels: Tensor | None = None) -> Tensor:
        """Latents → styles (B, layers, D), one a layer. In training the average style follows, over all ranks."""
        if isinstance(latents, Tensor):
            styles = self.mapping(latents, labels)
            self._follow(styles)
            return styles[:, None].expand(-1, self.layers, -1)
        styles = self.mapping(latents["first"], labels)
        self._follow(styles)
        other = self.mapping(latents["second"], labels)
        second = torch.arange(self.layers, device=styles.device) >= latents["from"][:, None]
        return torch.where(second[:, :, None], other[:, None], styles[:, None])

    @torch.no_grad()
    def _follow(self, styles: Tensor) -> None:
        if self.training:
            total = all_sum(torch.cat([styles.sum(0), styles.new_tensor([len(styles)])]))
            self.average.lerp_((total[:-1] / total[-1]).to(self.average.dtype), 1 - AVERAGING)

    def synthesize(self, styles: Tensor) -> Tensor:
        """Styles (B, layers, D) → images (B, C, size, size), about in [-1, 1]."""
        own = list(styles.unbind(1))
        maps, image = channels_last(self.constant.expand(styles.shape[0], -1, -1, -1)), None
        for level, block in enumerate(self.blocks):
            # A size has the styles of its convolutions, and one more, for its image, that the next size begins with.
            maps, part = block(maps, own[max(0, 2 * level - 1) : 2 * level + 2])
            image = part if image is None else self.upsample(image) + part
        assert image is not None
        return image

    def factors(self) -> list[Tensor]:
        """The weights that the style of each layer meets: (outputs, D) a layer, those of all affine maps of a size's
        image and of the next size's first convolution, which share a style, stacked."""
        met: list[list[ModulatedConv2d]] = [[] for _ in range(self.layers)]
        blocks: list[Any] = list(self.blocks)
        for level, block in enumerate(blocks):
            if block.up is not None:
                met[2 * level - 1].append(block.up.convolution)
            met[2 * level].append(block.convolution.convolution)
            met[2 * level + 1].append(block.colours.convolution)
        return [torch.cat([m.affine.weight * m.affine.scale for m in convolutions]) for convolutions in met]

    def forward(self, latents: Latents, labels: Tensor | None = None) -> Tensor:
        """Latents → images (B, C, size, size), about in [-1, 1]. Labels count if it is conditional."""
        return self.synthesize(self.map(latents, labels))

    def truncated(self, latents: Latents, labels: Tensor | None, psi: float) -> Tensor:
        """Images whose styles lie at `psi` of the way from the average style (Karras et al. 2019, appendix B)."""
        return self.synthesize(self.average.lerp(self.map(latents, labels), psi))


class DiscriminatorBlock(Recomputable):
    """Two convolutions, the second to half the size, beside a linear way around them if `residual`."""

    def __init__(self, inputs: int, outputs: int, residual: bool):
        super().__init__()
        gain = math.sqrt(0.5) if residual else 1.0
        self.convolutions = nn.Sequential(
            ScaledConv2d(inputs, inputs, 3), ScaledConv2d(inputs, outputs, 3, down=True, gain=gain)
        )
        around = ScaledConv2d(inputs, outputs, 1, bias=False, active=False, gain=gain)
        self.around = nn.Sequential(Downsample(), around) if residual else None

    def forward(self, maps: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H/2, W/2)."""
        hidden = self.convolutions(maps)
        return hidden if self.around is None else hidden + self.around(maps)


class Discriminator(nn.Module):
    """Blocks that halve the size to 4×4, the deviation over groups of samples, a convolution and two dense layers.

    widths: channels of the sizes from the image down. classes: what it projects on, 0 for nothing.
    """

    def __init__(self, widths: list[int], channels: int, group: int, residual: bool, classes: int):
        super().__init__()
        last = widths[-1]
        self.divisor = group
        self.colours = ScaledConv2d(channels, widths[0], 1)
        self.blocks = nn.Sequential(*(DiscriminatorBlock(a, b, residual) for a, b in itertools.pairwise(widths)))
        self.deviation = MinibatchDeviation(group) if group > 1 else None
        self.convolution = ScaledConv2d(last + (group > 1), last, 3)
        self.dense = ScaledLinear(last * 16, last, active=True)
        self.out = ScaledLinear(last, last if classes else 1)
        self.mapping = Mapping(0, classes, last, 8) if classes else None

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (B, C, size, size) → logits (B,). B is a multiple of the group. Labels count if it is conditional."""
        maps = self.blocks(self.colours(channels_last(images)))
        if self.deviation is not None:
            maps = self.deviation(maps)
        out = self.out(self.dense(at_least_float32(self.convolution(maps)).flatten(1)))
        if self.mapping is None:
            return out.squeeze(1)
        return (out * self.mapping(None, labels)).sum(1) / math.sqrt(out.shape[1])


class StyleGan2(Architecture):
    """StyleGAN2 (Karras et al. 2020) for square images of 16 to 1024 pixels."""

    name: ClassVar[str] = "stylegan2"

    channel_base: int = Field(32768, ge=1)
    """Channels of a size are this number divided by the size; 16384 in the authors' settings for up to 256 pixels."""
    channel_max: int = Field(512, ge=1)
    """Most channels of any size."""
    latent: int = Field(512, ge=1)
    """Length of the latent vectors."""
    style: int = Field(512, ge=1)
    """Length of the styles, and width of the mapping network."""
    mapping_layers: int = Field(8, ge=1)
    """Depth of the mapping network; 2 in the authors' settings for CIFAR-10 and limited data."""
    mixing: float = Field(0.9, ge=0.0, le=1.0)
    """How often, in training, a sample takes its styles from two latents, one up to some layer and one from there."""
    noise: bool = True
    """Random pictures added in every layer. Without them two workers compute what one process does, to rounding."""
    residual: bool = True
    """A way around the convolutions of each of the discriminator's blocks; not in the authors' CIFAR-10 settings."""
    group: int = Field(4, ge=1)
    """Neighbouring samples whose standard deviation the discriminator sees, which every worker's share of the batch
    divides by; 1 for none."""
    conditioning: Literal["none", "projection"] = "none"
    """projection: labels in the mapping network, and a mapped label that the discriminator projects on (as the authors
    of StyleGAN2-ADA do). Needs labelled data."""

    def refuse(self, facts: Facts) -> str | None:
        """Points, images that are not square or of another size, and conditioning without labels."""
        return wrong_size(self.name, facts, SIZES) or unlabelled(self.name, self.conditioning, facts)

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Generator and discriminator."""
        channels, size, _ = facts.shape
        classes = facts.classes if self.conditioning != "none" else 0
        sizes = [2**level for level in range(2, size.bit_length())]
        widths = [max(1, min(self.channel_base // size, self.channel_max)) for size in sizes]
        mapping = Mapping(self.latent, classes, self.style, self.mapping_layers)
        how = {"mixing": self.mixing, "noise": self.noise}
        return {
            "generator": kernels_last(Generator(mapping, self.latent, self.style, widths, channels, **how)),
            "discriminator": kernels_last(Discriminator(widths[::-1], channels, self.group, self.residual, classes)),
        }
