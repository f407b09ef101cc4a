"""Layers that compute what torch's compute, with the same parameters, in less time where GANs spend it.

Each names the module that it stands for; values, gradients and second gradients agree.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def at_least_float32(value: Tensor) -> Tensor:
    """bfloat16 and float16 as float32, wider numbers as they are: what networks return under autocast."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def channels_last(images: Tensor) -> Tensor:
    """(B, C, H, W) with the channels innermost in memory, which convolutions on CPUs and tensor cores run best on."""
    if images.shape[1] == 1:
        # Both layouts are the same bytes then; convolutions look at the strides to choose one.
        rows, _, height, width = images.shape
        return images.reshape(rows, height, width, 1).permute(0, 3, 1, 2)
    return images.contiguous(memory_format=torch.channels_last)


def kernels_last(network: nn.Module) -> nn.Module:
    """The network with its convolutions' weights kept as `channels_last` keeps images, which saves a copy per use."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class Dropout(nn.Module):
    """nn.Dropout, from 16 random bits an element on CPUs, where a Bernoulli draw per element costs several times that.

    The rate is rounded to a multiple of 2⁻¹⁶ and the scale is that of the rounded rate, so the mean is exact. The bits
    come from torch's global generator.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p
        self._kept = round((1.0 - p) * 65536)

    def forward(self, input: Tensor) -> Tensor:
        """Zeroes elements with probability `p` and scales the others; the identity in eval mode."""
        if not self.training or self._kept == 65536:
            return input
        if input.device.type != "cpu":
            return F.dropout(input, self.p)
        if self._kept == 0:
            return input * 0.0
        count, strides = input.numel(), torch.empty_like(input).stride()
        words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
        # A mask of the input's own type and layout, written in one pass: mixed types are not vectorised.
        mask = torch.empty(count, dtype=input.dtype)
        torch.lt(words.view(torch.int16)[:count], self._kept - 32768, out=mask)
        return input * mask.mul_(65536 / self._kept).as_strided(input.shape, strides)

    def extra_repr(self) -> str:
        """The rate."""
        return f"p={self.p}"


class _LeakyReLU(torch.autograd.Function):
    """Slope 1 above zero, `slope` below. torch's own double backward pushes a tensor of zeros through the whole graph
    of the forward pass, since the second derivative is zero almost everywhere; here it pushes nothing."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, slope: float, inplace: bool) -> Tensor:
        output = F.leaky_relu(input, slope, inplace)
        if inplace:
            ctx.mark_dirty(input)
        ctx.save_for_backward(output)
        ctx.slope = slope
        ctx.set_materialize_grads(False)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (output,) = ctx.saved_tensors
        product = None if gradients[0] is None else _LeakyReLUBackward.apply(gradients[0], output, ctx.slope)
        return product, None, None


class _LeakyReLUBackward(torch.autograd.Function):
    """The product of a gradient with the slopes: linear in the gradient, hence its own backward."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, output: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(output)
        ctx.slope = slope
        ctx.set_materialize_grads(False)
        return torch.ops.aten.leaky_relu_backward(gradient, output, slope, True)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (output,) = ctx.saved_tensors
        product = None if gradients[0] is None else _LeakyReLUBackward.apply(gradients[0], output, ctx.slope)
        return product, None, None


class LeakyReLU(nn.Module):
    """nn.LeakyReLU, cheaper under a gradient penalty. slope ≥ 0.

    inplace: overwrite the input; for the output of a convolution or a norm that nobody else uses.
    """

    def __init__(self, slope: float = 0.2, inplace: bool = False):
        super().__init__()
        self.slope, self.inplace = slope, inplace

    def forward(self, input: Tensor) -> Tensor:
        """max(x, 0) + slope · min(x, 0)."""
        if torch.compiler.is_compiling():
            # Such code is never differentiated twice, and its compiler overwrites what it can.
            return F.leaky_relu(input, self.slope)
        if torch.is_grad_enabled() and input.requires_grad:
            # A view that is overwritten costs copies in the backward pass, and torch has no second derivative of a
            # recomputed block with one. Nothing more is kept: the input is let go.
            return _LeakyReLU.apply(input, self.slope, self.inplace and not input._is_view())  # type: ignore[return-value]
        return F.leaky_relu(input, self.slope, self.inplace)

    def extra_repr(self) -> str:
        """The slope."""
        return f"slope={self.slope}"


class ReLU(LeakyReLU):
    """nn.ReLU, cheaper under a gradient penalty."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, inplace)


class _Halve(torch.autograd.Function):
    """Means over 2×2 squares. Linear, so neither its backward nor that one's backward needs the input, for which
    torch's own returns zeros."""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        return F.avg_pool2d(input, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _Repeat.apply(gradients[0])


class _Repeat(torch.autograd.Function):
    """The transpose of `_Halve`: a quarter of each value to each of its four pixels."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor) -> Tensor:
        return F.interpolate(gradient * 0.25, scale_factor=2, mode="nearest")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _Halve.apply(gradients[0])


class AvgPool2d(nn.Module):
    """nn.AvgPool2d(2), cheaper under a gradient penalty."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) with even H and W → (B, C, H/2, W/2)."""
        if torch.is_grad_enabled() and input.requires_grad:
            return _Halve.apply(input)  # type: ignore[return-value]
        return F.avg_pool2d(input, 2)


def layer_norm(channels: int) -> nn.Module:
    """Layer norm of (B, C, H, W) over all but B, a gain and bias per channel (Gulrajani et al. 2017, section 4)."""
    return nn.GroupNorm(1, channels)
