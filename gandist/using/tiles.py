"""Images of any size through a network that takes some sizes: padding, and tiles that flow into each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

Work = Callable[[Tensor], Tensor]
"""Images (1, C, H, W) → images of the same shape."""


def whole(image: Tensor, work: Work, divisor: int, smallest: int) -> Tensor:
    """`work` on an image (C, H, W) of any size: mirrored at its right and lower border until its sides divide by
    `divisor` and are no shorter than `smallest`, and cut back afterwards."""
    return _padded(image, divisor, smallest, lambda padded: work(padded[None])[0])


def tiled(image: Tensor, work: Work, divisor: int, smallest: int, tile: int, overlap: int) -> Tensor:
    """The same by tiles of at most tile × tile pixels, rounded up to what the network takes.

    Neighbours share `overlap` pixels. In its middle half one fades into the other along a line; the outer quarters,
    which know the least of what lies around them, do not count. So the result has no edge where tiles meet, and for a
    network that sees no farther than a quarter of the overlap it is that of the whole image.
    """
    tile = _up(max(tile, smallest), divisor)
    overlap = min(_up(overlap, divisor), tile // 2)

    def by_tiles(padded: Tensor) -> Tensor:
        height, width = padded.shape[1:]
        rows, columns = (list(_starts(length, tile, overlap, divisor)) for length in (height, width))
        # Sums in the host's memory: one tile at a time is on the device.
        total, weights = torch.zeros(padded.shape), torch.zeros(height, width)
        for top, down in rows:
            for left, across in columns:
                one = padded[:, top : top + len(down), left : left + len(across)]
                weight = down[:, None] * across
                total[:, top : top + len(down), left : left + len(across)] += work(one[None])[0].cpu() * weight
                weights[top : top + len(down), left : left + len(across)] += weight
        return total / weights

    return _padded(image, divisor, smallest, by_tiles)


def _padded(image: Tensor, divisor: int, smallest: int, work: Callable[[Tensor], Tensor]) -> Tensor:
    height, width = image.shape[1:]
    down, across = (_up(max(length, smallest), divisor) - length for length in (height, width))
    # numpy mirrors again and again where a border is wider than the image.
    padded = np.pad(image.numpy(), ((0, 0), (0, down), (0, across)), "symmetric") if down or across else image.numpy()
    return work(torch.from_numpy(padded))[:, :height, :width]


def _up(length: int, divisor: int) -> int:
    return -(-length // divisor) * divisor


def _starts(length: int, tile: int, overlap: int, divisor: int) -> Iterator[tuple[int, Tensor]]:
    """Where tiles begin along a side, at multiples of the divisor, and the weights of their pixels."""
    if length <= tile:
        yield 0, torch.ones(length)
        return
    count = -(-(length - overlap) // (tile - overlap))
    starts = [(length - tile) * number // (count - 1) // divisor * divisor for number in range(count)]
    for number, start in enumerate(starts):
        weight = torch.ones(tile)
        if number:
            weight *= _fade(starts[number - 1] + tile - start, tile)
        if number < count - 1:
            weight *= _fade(start + tile - starts[number + 1], tile).flip(0)
        yield start, weight


def _fade(shared: int, tile: int) -> Tensor:
    """Weights of a tile whose first `shared` pixels are its neighbour's too: 0, then along a line to 1."""
    quarter = shared // 4
    # From the middles of pixels, so that the two sides add up to 1 everywhere.
    return ((torch.arange(tile) + 0.5 - quarter) / (shared - 2 * quarter)).clamp(0, 1)
