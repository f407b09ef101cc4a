"""What an encoder and a generator make again of samples, and where that differs from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

_BLUR = "Width and height, in pixels, of the square over which heatmaps are averaged; odd, 1 for no blur."
Blur = Annotated[int, Field(ge=1, le=63, description=_BLUR)]


def again(players: Mapping[str, nn.Module], samples: Tensor) -> Tensor:
    """G(E(samples)), of the shape and type of the samples."""
    return players["generator"](players["encoder"](samples), None).to(samples.dtype)


def even(blur: int) -> str | None:
    """Why a square without a middle cannot be averaged over, or None for one that has one."""
    return None if blur % 2 else f"has blur: {blur}, which should be odd"


def residual_map(images: Tensor, again: Tensor, blur: int) -> Tensor:
    """Absolute differences of the pixels, mean over channels and over `blur` × `blur` neighbours, (B, H, W).

    images, again: (B, C, H, W). The image goes on beyond its borders as it ends there.
    """
    residual = (images - again).abs().mean(1, keepdim=True)
    wide = pad(residual, (blur // 2,) * 4, mode="replicate")
    return avg_pool2d(wide, blur, stride=1).squeeze(1)
