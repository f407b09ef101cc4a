"""Convolutions that compute what torch's compute, with the same parameters, in less time where GANs spend it.

Each names the module that it stands for; values, gradients and second gradients agree.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gandist_architectures.layers import channels_last


def _summed_shifts(kernel: Tensor) -> Tensor:
    """(…, k, k) → (…, k + 1, k + 1): the kernel laid on each of the four pixels of a 2×2 square, and summed."""
    wide = F.pad(kernel, (1, 1, 1, 1))
    return wide[..., 1:, 1:] + wide[..., 1:, :-1] + wide[..., :-1, 1:] + wide[..., :-1, :-1]


class PooledConv2d(nn.Conv2d):
    """nn.Conv2d(a, b, 3, padding=1) and nn.AvgPool2d(2) as one convolution of stride 2 with a 4×4 kernel: 16 products
    at a quarter of the pixels for 9 at each (Karras et al. 2018, their code)."""

    def __init__(self, channels: int, out: int):
        super().__init__(channels, out, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) with even H and W → (B, out, H/2, W/2)."""
        return F.conv2d(input, _summed_shifts(self.weight) * 0.25, self.bias, stride=2, padding=1)


class UpsampledConv2d(nn.Conv2d):
    """Nearest up-sampling to twice the size and nn.Conv2d(a, b, 3, padding=1) as one transposed convolution of stride 2
    with a 4×4 kernel, less than half of the work (Karras et al. 2018, their code)."""

    def __init__(self, channels: int, out: int):
        super().__init__(channels, out, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → (B, out, 2H, 2W)."""
        kernel = _summed_shifts(self.weight.flip(2, 3).transpose(0, 1))
        return F.conv_transpose2d(input, kernel, self.bias, stride=2, padding=1)


def _runs_on_plain_cpu(input: Tensor) -> bool:
    """Where the layers below have rules of their own; on GPUs and under autocast torch's kernels are better."""
    return input.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def _weight_gradient(few: Tensor, many: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    gradients = torch.ops.aten.convolution_backward(
        many, few, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [False, True, False]
    )
    return gradients[1]


class _Gather(torch.autograd.Function):
    """A convolution from few channels to many, weight (many, few, k, k). torch's gradient for its input computes a
    convolution to few channels, which leaves most of a vector unit idle; `_Spread` does not."""

    @staticmethod
    def forward(ctx: Any, few: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(few, weight)
        ctx.stride, ctx.padding = stride, padding
        # As a gradient of `_Spread`, `few` comes as the loss left it, and its layout decides that of the result.
        return F.conv2d(channels_last(few), weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (many,) = gradients
        few, weight = ctx.saved_tensors
        on_few, on_weight, on_bias = ctx.needs_input_grad[:3]
        size = tuple(few.shape[2:])
        return (
            _Spread.apply(many, weight, size, ctx.stride, ctx.padding) if on_few else None,
            _weight_gradient(few, many, weight, ctx.stride, ctx.padding) if on_weight else None,
            many.sum((0, 2, 3)) if on_bias else None,
            None,
            None,
        )


class _Spread(torch.autograd.Function):
    """The transpose of `_Gather` in its first argument: a transposed convolution from many channels to few, as a
    matrix product and a sum of overlapping patches."""

    @staticmethod
    def forward(ctx: Any, many: Tensor, weight: Tensor, size: tuple[int, int], stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(many, weight)
        ctx.stride, ctx.padding = stride, padding
        # One product per image: the patches come out in the order in which they are summed.
        product = weight.flatten(1).t().expand(many.shape[0], -1, -1)
        return F.fold(torch.bmm(product, many.flatten(2)), size, weight.shape[2:], padding=padding, stride=stride)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (few,) = gradients
        many, weight = ctx.saved_tensors
        return (
            _Gather.apply(few, weight, None, ctx.stride, ctx.padding) if ctx.needs_input_grad[0] else None,
            _weight_gradient(few, many, weight, ctx.stride, ctx.padding) if ctx.needs_input_grad[1] else None,
            None,
            None,
            None,
        )


class FromImages(nn.Conv2d):
    """nn.Conv2d for the few channels of an image, with a fast gradient for the image on CPUs."""

    def __init__(self, channels: int, out: int, size: int, stride: int = 1, padding: int = 0):
        super().__init__(channels, out, size, stride, padding)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → (B, out, …)."""
        if not (input.requires_grad and _runs_on_plain_cpu(input)):
            return super().forward(input)
        return _Gather.apply(input, self.weight, self.bias, self.stride[0], self.padding[0])  # type: ignore[return-value]


class ToImages(nn.ConvTranspose2d):
    """nn.ConvTranspose2d to the few channels of an image, fast on CPUs."""

    def __init__(self, channels: int, out: int, size: int, stride: int, padding: int):
        super().__init__(channels, out, size, stride, padding)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, C, H, W) → (B, out, …)."""
        if output_size is not None or not _runs_on_plain_cpu(input):
            return super().forward(input, output_size)
        stride, padding, kernel = self.stride[0], int(self.padding[0]), self.kernel_size[0]
        height, width = ((n - 1) * stride - 2 * padding + kernel for n in input.shape[2:])
        images: Tensor = _Spread.apply(input, self.weight, (height, width), stride, padding)  # type: ignore[assignment]
        return images if self.bias is None else images + self.bias.view(-1, 1, 1)


class Project(nn.ConvTranspose2d):
    """nn.ConvTranspose2d on 1×1 inputs as the matrix product that it is: latents (B, Z, 1, 1) → (B, C, k, k)."""

    def __init__(self, latent: int, channels: int, size: int, bias: bool = True):
        super().__init__(latent, channels, size, bias=bias)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, Z) or (B, Z, 1, 1) → (B, C, k, k), channels last."""
        channels, height, width = self.weight.shape[1:]
        flat = input.flatten(1) @ self.weight.permute(0, 2, 3, 1).flatten(1)
        images = flat.view(-1, height, width, channels).permute(0, 3, 1, 2)
        return images if self.bias is None else images + self.bias.view(-1, 1, 1)


class Collapse(nn.Conv2d):
    """nn.Conv2d with a kernel as large as its input, as the matrix product that it is."""

    def __init__(self, channels: int, out: int, size: int, bias: bool = True):
        super().__init__(channels, out, size, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, k, k) → (B, out, 1, 1)."""
        # In the order in which channels_last keeps the input, so that nothing but the small weight is copied.
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(input.permute(0, 2, 3, 1).flatten(1), weight, self.bias)[:, :, None, None]


class Pointwise(nn.Conv2d):
    """nn.Conv2d(a, b, 1) as the matrix product that it is, over maps that are kept channels last."""

    def __init__(self, channels: int, out: int, bias: bool = True):
        super().__init__(channels, out, 1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → (B, out, H, W), channels last."""
        return F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class _Grouped(torch.autograd.Function):
    """A convolution in groups of channels. torch differentiates one twice by a loop over the groups; here its gradient
    for the input is `_GroupedTranspose`, and the other way round."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.groups = groups
        return F.conv2d(input, weight, bias, padding=weight.shape[-1] // 2, groups=groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        input, weight = ctx.saved_tensors
        on_input, on_weight, on_bias = ctx.needs_input_grad[:3]
        return (
            _GroupedTranspose.apply(gradient, weight, ctx.groups) if on_input else None,
            _grouped_weight_gradient(input, gradient, weight, ctx.groups) if on_weight else None,
            gradient.sum((0, 2, 3)) if on_bias else None,
            None,
        )


class _GroupedTranspose(torch.autograd.Function):
    """The transpose of `_Grouped` in its first argument."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.groups = groups
        return F.conv_transpose2d(gradient, weight, padding=weight.shape[-1] // 2, groups=groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (input,) = gradients
        gradient, weight = ctx.saved_tensors
        on_gradient, on_weight = ctx.needs_input_grad[:2]
        return (
            _Grouped.apply(input, weight, None, ctx.groups) if on_gradient else None,
            _grouped_weight_gradient(input, gradient, weight, ctx.groups) if on_weight else None,
            None,
        )


def _grouped_weight_gradient(input: Tensor, gradient: Tensor, weight: Tensor, groups: int) -> Tensor:
    padding = [weight.shape[-1] // 2] * 2
    wanted = [False, True, False]
    gradients = torch.ops.aten.convolution_backward(
        gradient, input, weight, None, [1, 1], padding, [1, 1], False, [0, 0], groups, wanted
    )
    return gradients[1]


class GroupedConv2d(nn.Conv2d):
    """nn.Conv2d(channels, channels, size, padding=size // 2, groups=groups) for an odd size, cheaper under a gradient
    penalty."""

    def __init__(self, channels: int, size: int, groups: int, bias: bool = True):
        super().__init__(channels, channels, size, padding=size // 2, groups=groups, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        if not input.requires_grad:
            return super().forward(input)
        device = input.device.type
        if not torch.is_autocast_enabled(device):
            return _Grouped.apply(input, self.weight, self.bias, self.groups)  # type: ignore[return-value]
        low = torch.get_autocast_dtype(device)
        bias = None if self.bias is None else self.bias.to(low)
        return _Grouped.apply(input.to(low), self.weight.to(low), bias, self.groups)  # type: ignore[return-value]
