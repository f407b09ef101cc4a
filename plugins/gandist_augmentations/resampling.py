"""Images under affine maps: differentiable twice, and without aliasing."""

import functools
from typing import Any

import torch
from torch import Tensor

# The low-pass filter of the orthogonal wavelet sym6 (Daubechies 1992; its twelve taps sum to the root of 2).
_SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)


SPREAD = len(_SYM6) - 2
"""Half pixels that up-sampling adds at the ends, and that down-sampling takes away."""
_BILINEAR, _REFLECTION = 0, 2
"""How torch's operators number them."""


class _Sample(torch.autograd.Function):
    """F.grid_sample, bilinear, mirrored at the borders. It is linear in the image, so that its backward, which torch
    does not differentiate, has itself as backward. No gradient goes to the grid, which is random."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return torch.grid_sampler(images, grid, _BILINEAR, _REFLECTION, False)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (grid,) = ctx.saved_tensors
        return _SampleBackward.apply(gradients[0], grid, ctx.shape), None


class _SampleBackward(torch.autograd.Function):
    """Gives each pixel back what was taken from it: the transpose of `_Sample`."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        blank, only_images = gradient.new_zeros(shape), [True, False]
        found, _ = torch.ops.aten.grid_sampler_2d_backward(
            gradient.contiguous(), blank, grid, _BILINEAR, _REFLECTION, False, only_images
        )
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (grid,) = ctx.saved_tensors
        return _Sample.apply(gradients[0], grid), None, None


@functools.cache
def _refinement(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Matrix from `size` pixels to twice as many on them and on their mirror images at both sides: the wavelet's
    up-sampling, less the ends where the filter reaches over the border. Its rows lie about the image's middle."""
    taps = torch.tensor(_SYM6, dtype=torch.float64)
    taps = taps * (2.0 / taps.sum())
    # Half of the image on each side is more than nearly all maps reach; what reaches further is mirrored once more.
    margin = min(size - 1, max(len(_SYM6) // 2, size // 2))
    places = torch.arange(-margin, size + margin).abs()
    places = torch.where(places >= size, 2 * (size - 1) - places, places)
    length = 2 * len(places) - SPREAD
    matrix = torch.zeros(length, size, dtype=torch.float64)
    for padded, pixel in enumerate(places.tolist()):
        for tap, weight in enumerate(taps.tolist()):
            if 0 <= (row := 2 * padded + tap - SPREAD) < length:
                matrix[row, pixel] += weight
    return matrix.to(device, dtype)


@functools.cache
def _coarsening(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Matrix from 2·size + SPREAD half pixels to `size` pixels. The wavelet is orthogonal, so that this is the inverse
    of up-sampling on what that makes."""
    taps = torch.tensor(_SYM6, dtype=torch.float64)
    matrix = torch.zeros(size, 2 * size + SPREAD, dtype=torch.float64)
    for pixel in range(size):
        matrix[pixel, 2 * pixel : 2 * pixel + len(_SYM6)] = taps / taps.sum()
    return matrix.to(device, dtype)


def _about_the_middle(count: int, like: Tensor) -> Tensor:
    """Places of so many half pixels, in pixels."""
    return (torch.arange(count, device=like.device, dtype=like.dtype) - (count - 1) / 2) / 2


def warped(images: Tensor, maps: Tensor) -> Tensor:
    """Images (B, C, H, W) whose point p shows what was at maps · p; maps (B, 3, 3), in pixels from the image's middle.

    Beyond its border an image goes on as its own mirror image. It is resampled bilinearly at twice the resolution
    between two wavelet filters, so that nothing aliases (Karras et al. 2020, "Training generative adversarial networks
    with limited data", appendix B.3). Differentiable twice with respect to the images.
    """
    rows, _, height, width = images.shape
    kind = images.dtype, images.device
    # As products of matrices, which are quick where a convolution of each channel by itself is not.
    fine = _refinement(height, *kind) @ images @ _refinement(width, *kind).T
    across, down = _about_the_middle(2 * width + SPREAD, images), _about_the_middle(2 * height + SPREAD, images)
    points = torch.stack(torch.broadcast_tensors(across, down[:, None], across.new_ones(())), dim=-1).flatten(0, 1)
    found = (points @ maps.transpose(1, 2))[..., :2].view(rows, len(down), len(across), 2)
    grid = found * 4.0 / torch.tensor([fine.shape[3], fine.shape[2]], device=images.device, dtype=images.dtype)
    sampled: Tensor = _Sample.apply(fine, grid)  # type: ignore[assignment]
    return _coarsening(height, *kind) @ sampled @ _coarsening(width, *kind).T
