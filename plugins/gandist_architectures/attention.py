"""Self-attention between the pixels of a feature map (Zhang, Goodfellow, Metaxas & Odena 2019)."""

from collections.abc import Callable, Iterable
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gandist import Recomputable

Attention = Annotated[
    int,
    Field(
        ge=0,
        description="Size of the feature maps, in both players, that self-attention follows (SAGAN, Zhang et al. 2019; "
        "64 there at 128 pixels); 0 for none.",
    ),
]
Finish = Callable[[nn.Conv2d], nn.Module]
"""Initialises a convolution, and normalises its weight if that is wanted."""


def no_attention_at(name: str, attention: int, size: int) -> str | None:
    """Why networks for images of this size have no feature maps of size `attention` in both players, or None."""
    sizes = [2**level for level in range(3, size.bit_length() - 1)]
    if attention == 0 or attention in sizes:
        return None
    return (
        f"{name} for images of {size} pixels has feature maps of {', '.join(map(str, sizes))}: set attention to one of "
        "these, or to 0"
    )


class SelfAttention(Recomputable):
    """Adds to each pixel a learnt share of what it attends to; at first nothing (equation 3).

    As in the authors' code keys and values are pooled to half the size, and have an eighth and half of the channels.
    """

    def __init__(self, channels: int, finish: Finish):
        super().__init__()
        narrow, half = max(1, channels // 8), max(1, channels // 2)
        self.query = finish(nn.Conv2d(channels, narrow, 1, bias=False))
        self.key = finish(nn.Conv2d(channels, narrow, 1, bias=False))
        self.value = finish(nn.Conv2d(channels, half, 1, bias=False))
        self.out = finish(nn.Conv2d(half, channels, 1, bias=False))
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) with even H and W → the same shape."""
        query = self.query(input).flatten(2)
        key = F.max_pool2d(self.key(input), 2).flatten(2)
        value = F.max_pool2d(self.value(input), 2).flatten(2)
        # Not torch's fused attention, which cannot be differentiated twice: a gradient penalty does.
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        attended = (value @ weights.to(value.dtype).transpose(1, 2)).unflatten(2, input.shape[2:])
        return input + self.share.to(input.dtype) * self.out(attended)


def with_attention(blocks: Iterable[tuple[nn.Module, int, int]], at: int, finish: Finish) -> list[nn.Module]:
    """The blocks, self-attention after the first that gives out maps of size `at`.

    Each block comes with the size and the channels of what it gives out.
    """
    layers: list[nn.Module] = []
    missing = at > 0
    for block, size, channels in blocks:
        layers.append(block)
        if missing and size == at:
            layers.append(SelfAttention(channels, finish))
            missing = False
    return layers
