"""The networks that image-to-image methods share: residual and U-shaped generators, and a critic of patches."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gandist import Facts, Recomputable
from gandist_architectures.layers import LeakyReLU, ReLU, at_least_float32

STRIDE = 4
"""Height and width of what a residual generator takes must divide by this."""


class InstanceNorm(nn.Module):
    """Each map of each image to mean 0 and variance 1, without gain and bias (Ulyanov et al. 2016)."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        # Groups of one channel are the same function, with a kernel for channels-last maps.
        return F.group_norm(input, input.shape[1])


class ResidualBlock(Recomputable):
    """Two 3×3 convolutions with reflected borders and instance norm, added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        # Instance norm takes the mean away again, so a bias before it would be moved by rounding noise only.
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False),
            InstanceNorm(),
            ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False),
            InstanceNorm(),
        )

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        return input + self.body(input)


class ResidualGenerator(nn.Module):
    """Down twice, residual blocks, up twice (Johnson et al. 2016; Zhu et al. 2017, appendix 7.2: c7s1-64, d128, d256,
    R256 × 6 or 9, u128, u64, c7s1-3), with `width` for their 64."""

    divisor_of_sides = STRIDE

    def __init__(self, channels: int, width: int, blocks: int):
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 7, padding=3, padding_mode="reflect", bias=False),
            InstanceNorm(),
            ReLU(inplace=True),
        ]
        for times in (1, 2):
            down = nn.Conv2d(times * width, 2 * times * width, 3, stride=2, padding=1, bias=False)
            layers += [down, InstanceNorm(), ReLU(inplace=True)]
        self.encoder = nn.ModuleList(layers)
        self.blocks = nn.ModuleList([ResidualBlock(4 * width) for _ in range(blocks)])
        layers = []
        for times in (4, 2):
            up = nn.ConvTranspose2d(
                times * width, times * width // 2, 3, stride=2, padding=1, output_padding=1, bias=False
            )
            layers += [up, InstanceNorm(), ReLU(inplace=True)]
        self.decoder = nn.Sequential(*layers, nn.Conv2d(width, channels, 7, padding=3, padding_mode="reflect"))
        small_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1], sides that divide by 4 → images of the same shape and range."""
        hidden = images
        for layer in (*self.encoder, *self.blocks):
            hidden = layer(hidden)
        return at_least_float32(self.decoder(hidden)).tanh()

    def features(self, images: Tensor) -> list[Tensor]:
        """What the encoder makes of them at five depths: pixels, both down-samplings, the first and the middle block
        (Park et al. 2020, appendix C.1: layers 0, 4, 8, 12 and 16 of their nine-block generator)."""
        hidden, kept = images, [images]
        for index, layer in enumerate(self.encoder):
            hidden = layer(hidden)
            if index in (3, 6):
                # Before the norm and the in-place ReLU that follow, hence a copy.
                kept.append(hidden.clone())
        for index, block in enumerate(self.blocks[: len(self.blocks) // 2 + 1]):
            hidden = block(hidden)
            if index in (0, len(self.blocks) // 2):
                kept.append(hidden)
        return kept

    def depths(self, channels: int, width: int) -> tuple[int, ...]:
        """Channels of each of `features`."""
        return (channels, 2 * width, 4 * width, 4 * width, 4 * width)


class UNet(nn.Module):
    """Halves the image `depth` times and doubles it as often; each way up also sees the map of its size from the way
    down (Isola et al. 2017, appendix 6.1.1), with `width` for their 64 and instance norm, which is their batch norm of
    one image."""

    def __init__(self, channels: int, width: int, depth: int, dropout: float):
        super().__init__()
        self.divisor_of_sides = 2**depth
        widths = [width * min(8, 2**level) for level in range(depth)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, wider in enumerate(widths):
            inner = 0 < level < depth - 1
            # A norm of a single pixel would leave nothing of it; the outermost sees the image itself.
            self.down.append(
                nn.Sequential(
                    LeakyReLU(0.2) if level else nn.Identity(),
                    nn.Conv2d(widths[level - 1] if level else channels, wider, 4, stride=2, padding=1, bias=not inner),
                    InstanceNorm() if inner else nn.Identity(),
                )
            )
        for level in reversed(range(depth)):
            inputs = widths[level] * (1 if level == depth - 1 else 2)
            outputs = widths[level - 1] if level else channels
            layers: list[nn.Module] = [
                ReLU(),
                nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=not level),
            ]
            if level:
                layers.append(InstanceNorm())
            # Three of the inner levels in the paper: its source of noise.
            if dropout and depth - 4 <= level < depth - 1 and level:
                layers.append(nn.Dropout(dropout))
            self.up.append(nn.Sequential(*layers))
        small_normal(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1], sides that divide by 2^depth → images of the same shape and range."""
        maps, hidden = [], images
        for down in self.down:
            hidden = down(hidden)
            maps.append(hidden)
        for up, beside in zip(self.up, [None, *reversed(maps[:-1])], strict=True):
            hidden = up(hidden if beside is None else torch.cat([hidden, beside], 1))
        return at_least_float32(hidden).tanh()


class PatchCritic(nn.Module):
    """A discriminator that judges every patch by itself: 70×70 pixels with three strided layers (Isola et al. 2017,
    appendix 6.1.2: C64-C128-C256-C512), with `width` for their 64."""

    def __init__(self, channels: int, width: int, layers: int):
        super().__init__()
        widths = [width * min(8, 2**level) for level in range(layers + 1)]
        body: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), LeakyReLU(0.2, inplace=True)]
        for level, (inputs, outputs) in enumerate(pairwise(widths), 1):
            stride = 2 if level < layers else 1
            body += [
                nn.Conv2d(inputs, outputs, 4, stride=stride, padding=1, bias=False),
                InstanceNorm(),
                LeakyReLU(0.2, inplace=True),
            ]
        self.body = nn.Sequential(*body, nn.Conv2d(widths[-1], 1, 4, padding=1))
        small_normal(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W) → logits of patches (B, h, w)."""
        return at_least_float32(self.body(images)).squeeze(1)


class Domains(nn.Module):
    """One player of several networks, by name: `to_b` turns A into B, `on_b` judges images of B."""

    def __init__(self, **networks: nn.Module):
        super().__init__()
        for name, network in networks.items():
            self.add_module(name, network)

    @property
    def divisor_of_sides(self) -> int:
        """What height and width of an image must divide by."""
        return max(int(getattr(network, "divisor_of_sides", 1)) for network in self.children())


def small_normal(network: nn.Module) -> None:
    """Weights of standard deviation 0.02 and biases of 0 (Isola et al. 2017, appendix 6.2)."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def unfit(name: str, facts: Facts, divisor: int, smallest: int) -> str | None:
    """Why a translator whose sides divide by `divisor` cannot take such data, or None if it can."""
    if not facts.images:
        return f"{name} translates images, the data set has points: choose a data set of images"
    sides = facts.shape[1:]
    if all(side % divisor == 0 and side >= smallest for side in sides):
        return None
    fitting = max(smallest, round(max(sides) / divisor) * divisor)
    return (
        f"{name} takes images of at least {smallest} pixels a side that divide by {divisor}, the data set has "
        f"{sides[0]}×{sides[1]}: set dataset.size: {fitting}"
    )


def smallest_side(layers: int) -> int:
    """Pixels a side that a critic of so many strided layers needs for a map of more than one patch."""
    return 4 * 2**layers
