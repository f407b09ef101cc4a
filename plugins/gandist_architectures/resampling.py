"""Resampling by a fixed low-pass filter of four taps, 1 3 3 1 (Karras et al. 2020, appendix B; Huang et al. 2024).

Each operation is linear and its kernel symmetric, so it and its transpose are each other's derivatives, to any order.
torch's own convolutions would prepare gradients for a kernel that takes none.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Filter(torch.autograd.Function):
    """Each channel filtered with the same kernel (1, 1, k, k), read off at every `stride`-th pixel."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(kernel)
        ctx.size, ctx.stride, ctx.padding = tuple(input.shape[2:]), stride, padding
        channels = input.shape[1]
        kernel = kernel.to(input.dtype).expand(channels, -1, -1, -1)
        with torch.autocast(input.device.type, enabled=False):
            return F.conv2d(input, kernel, stride=stride, padding=padding, groups=channels)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _Spread.apply(gradients[0], *ctx.saved_tensors, ctx.size, ctx.stride, ctx.padding), None, None, None


class _Spread(torch.autograd.Function):
    """The transpose of `_Filter`: the kernel laid down at every `stride`-th pixel of a map of this size."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, kernel: Tensor, size: tuple[int, int], stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(kernel)
        ctx.stride, ctx.padding = stride, padding
        channels, taps = input.shape[1], kernel.shape[-1]
        rest = [n - ((m - 1) * stride + taps - 2 * padding) for n, m in zip(size, input.shape[2:], strict=True)]
        kernel = kernel.to(input.dtype).expand(channels, -1, -1, -1)
        with torch.autocast(input.device.type, enabled=False):
            return F.conv_transpose2d(input, kernel, None, stride, padding, rest, channels)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _Filter.apply(gradients[0], *ctx.saved_tensors, ctx.stride, ctx.padding), None, None, None, None


class _Resampling(nn.Module):
    """Holds the kernel, whose weights sum to `gain`. It is no part of the state: it never changes."""

    kernel: Tensor

    def __init__(self, gain: float):
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", gain * torch.outer(taps, taps)[None, None], persistent=False)


class Upsample(_Resampling):
    """(B, C, H, W) → (B, C, 2H, 2W)."""

    def __init__(self) -> None:
        super().__init__(gain=4.0)

    def forward(self, input: Tensor) -> Tensor:
        """Between the pixels, with zeros around them."""
        height, width = input.shape[2:]
        return _Spread.apply(input, self.kernel, (2 * height, 2 * width), 2, 1)  # type: ignore[return-value]


class Downsample(_Resampling):
    """(B, C, H, W) with even H and W → (B, C, H/2, W/2)."""

    def __init__(self) -> None:
        super().__init__(gain=1.0)

    def forward(self, input: Tensor) -> Tensor:
        """Weighted means of 4×4 pixels, with zeros around the map."""
        return _Filter.apply(input, self.kernel, 2, 1)  # type: ignore[return-value]


class Blur(_Resampling):
    """(B, C, H, W) → (B, C, H + 2·padding - 3, W + 2·padding - 3), before a convolution of stride 2 or after one."""

    def __init__(self, padding: int, gain: float = 1.0):
        super().__init__(gain)
        self.padding = padding

    def forward(self, input: Tensor) -> Tensor:
        """The filter at every pixel, with zeros around the map."""
        return _Filter.apply(input, self.kernel, 1, self.padding)  # type: ignore[return-value]
