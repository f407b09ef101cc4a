"""The layers of StyleGAN2 in plain torch operations (Karras, Laine, Aittala, Hellsten, Lehtinen & Aila 2020).

Weights are kept with variance 1 and scaled when they are used, which gives all of them the same learning speed
(Karras et al. 2018, section 4.1). Activations are leaky ReLUs with slope 0.2 times √2; the factor is multiplied into
what comes before, which changes nothing and saves a pass.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import one_hot

from gandist_architectures.layers import LeakyReLU, at_least_float32
from gandist_architectures.resampling import Blur

GAIN = math.sqrt(2)
"""Of an activation."""


class ScaledLinear(nn.Module):
    """A dense layer with weights of variance 1. It computes in full precision under autocast too: what it makes scales
    whole feature maps.

    bias: its first value. speed: learning rate of this layer relative to the others.
    """

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, speed: float = 1.0, active: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / speed)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        gain = GAIN if active else 1.0
        self.scale, self.shift = gain * speed / math.sqrt(inputs), gain * speed
        self.activation = LeakyReLU(0.2, inplace=True) if active else nn.Identity()

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs) → (B, outputs)."""
        with torch.autocast(input.device.type, enabled=False):
            out = F.linear(input.to(self.weight.dtype), self.weight * self.scale, self.bias * self.shift)
        return self.activation(out)


class ScaledConv2d(nn.Module):
    """A convolution with weights of variance 1, blurred and of stride 2 if `down`; then an activation if `active`.

    gain: a further factor of what it gives out.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        down: bool = False,
        bias: bool = True,
        active: bool = True,
        gain: float = 1.0,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.shift = gain * (GAIN if active else 1.0)
        self.scale = self.shift / math.sqrt(inputs * size**2)
        self.blur = Blur(padding=size - 1) if down else nn.Identity()
        self.stride, self.padding = (2, 0) if down else (1, size // 2)
        self.activation = LeakyReLU(0.2, inplace=True) if active else nn.Identity()

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W), or of half the size."""
        bias = None if self.bias is None else self.bias * self.shift
        hidden = F.conv2d(self.blur(input), self.weight * self.scale, bias, self.stride, self.padding)
        return self.activation(hidden)


class ModulatedConv2d(nn.Module):
    """A convolution whose input channels are scaled by the style; then, if `demodulate`, output channels are divided by
    the norm that their weights have with it (equations 1 to 3). up: to twice the size.

    The scales are put on the feature maps rather than into a kernel per sample, which is the same.
    """

    def __init__(self, inputs: int, outputs: int, size: int, style: int, up: bool = False, demodulate: bool = True):
        super().__init__()
        self.affine = ScaledLinear(style, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.demodulate, self.padding = demodulate, size // 2
        self.scale = 1.0 if demodulate else 1.0 / math.sqrt(inputs * size**2)
        self.blur = Blur(padding=1, gain=4.0) if up else None

    def forward(self, input: Tensor, style: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, inputs, H, W), (B, style) → the feature maps, and (B, outputs, 1, 1) that they are still to be multiplied
        with, or None."""
        scales = self.affine(style) * self.scale
        factors = None
        if self.demodulate:
            with torch.autocast(input.device.type, enabled=False):
                squares = F.linear(scales.square(), self.weight.square().sum((2, 3)))
            factors = (squares + 1e-8).rsqrt()[:, :, None, None]
        modulated = input * scales[:, :, None, None].to(input.dtype)
        if self.blur is None:
            return F.conv2d(modulated, self.weight, padding=self.padding), factors
        return self.blur(F.conv_transpose2d(modulated, self.weight.transpose(0, 1), stride=2)), factors


class PixelNoise(nn.Module):
    """One random picture per sample, added to all channels with a learnt strength (Karras et al. 2019, section 2).

    In training it is drawn anew from torch's generator; in evaluation it is always the same.
    """

    constant: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("constant", torch.randn(1, 1, size, size))

    def forward(self, like: Tensor) -> Tensor:
        """Noise (B, 1, H, W) or (1, 1, H, W) for feature maps (B, C, H, W)."""
        if not self.training:
            return self.strength * self.constant
        rows, _, height, width = like.shape
        return self.strength * torch.randn(rows, 1, height, width, device=like.device, dtype=self.strength.dtype)


class StyledConv2d(nn.Module):
    """Modulated 3×3 convolution, noise, bias and activation; to twice the size if `up`. size: of its output."""

    def __init__(self, inputs: int, outputs: int, style: int, size: int, noise: bool, up: bool = False):
        super().__init__()
        self.convolution = ModulatedConv2d(inputs, outputs, 3, style, up)
        self.noise = PixelNoise(size) if noise else None
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.activation = LeakyReLU(0.2, inplace=True)

    def forward(self, input: Tensor, style: Tensor) -> Tensor:
        """(B, inputs, H, W), (B, style) → (B, outputs, H, W), or of twice the size."""
        maps, factors = self.convolution(input, style)
        assert factors is not None
        shift = self.bias[:, None, None]
        if self.noise is not None:
            shift = shift + self.noise(maps)
        shift, factors = ((GAIN * part).to(maps.dtype) for part in (shift, factors))
        return self.activation(torch.addcmul(shift, maps, factors))


class ToColours(nn.Module):
    """Modulated 1×1 convolution to the channels of an image, in at least float32."""

    def __init__(self, inputs: int, channels: int, style: int):
        super().__init__()
        self.convolution = ModulatedConv2d(inputs, channels, 1, style, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, input: Tensor, style: Tensor) -> Tensor:
        """(B, inputs, H, W), (B, style) → (B, channels, H, W)."""
        return at_least_float32(self.convolution(input, style)[0]) + self.bias[:, None, None]


class Mapping(nn.Module):
    """Latents, labels, or both, each normalised to mean square 1, through dense layers that learn at a hundredth of the
    speed (Karras et al. 2019, section 2 and appendix C)."""

    def __init__(self, latent: int, classes: int, width: int, depth: int):
        super().__init__()
        self.classes = classes
        self.embedding = ScaledLinear(classes, width) if classes else None
        inputs = latent + (width if classes else 0)
        widths = [inputs] + [width] * depth
        self.layers = nn.Sequential(
            *(ScaledLinear(a, b, speed=0.01, active=True) for a, b in itertools.pairwise(widths))
        )

    def forward(self, latents: Tensor | None, labels: Tensor | None) -> Tensor:
        """(B, latent), int64 (B,) → (B, width)."""
        parts = [] if latents is None else [_normalised(latents)]
        if self.embedding is not None and labels is not None:
            known = one_hot(labels, self.classes).to(self.embedding.weight.dtype)
            parts.append(_normalised(self.embedding(known)))
        return self.layers(torch.cat(parts, dim=1))


def _normalised(rows: Tensor) -> Tensor:
    return rows * (rows.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class MinibatchDeviation(nn.Module):
    """Appends a feature map with the standard deviation over `group` neighbouring samples, its mean over channels and
    pixels (Karras et al. 2018, section 3)."""

    def __init__(self, group: int):
        super().__init__()
        self.group = group

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C + 1, H, W); B is a multiple of the group, or smaller."""
        group = min(self.group, len(input))
        rows = at_least_float32(input).unflatten(0, (-1, group))
        deviation = (rows.var(1, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
        deviation = deviation.repeat_interleave(group).to(input.dtype)
        return torch.cat([input, deviation[:, None, None, None].expand(-1, 1, *input.shape[2:])], dim=1)
