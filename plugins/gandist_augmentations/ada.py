"""Adaptive discriminator augmentation."""

import math
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from gandist import Anneal, Augmentation, Facts, Memory, Noise, Seen
from gandist_augmentations.images_only import unless_images
from gandist_augmentations.resampling import warped

LUMA = 3**-0.5
"""Each channel's part of the direction in which all grow alike."""


class Ada(Augmentation):
    """Changes images the more often, the surer the discriminator is of real ones (Karras et al. 2020a, section 3.2).

    Each change happens with probability p, which goes up where the mean sign of the logits on real images is above
    `target`, else down. The changes are the paper's `bgc` (appendix B.2): mirroring and quarter turns, shifts, scaling,
    rotation, and colour. Gaussian noise, filters and cutout, which the paper found no use for, are left out. An image
    goes on beyond its border as its mirror image.
    """

    name: ClassVar[str] = "ada"

    target: float = Field(default=0.6, ge=-1.0, le=1.0)
    """Mean sign of the logits on real images, augmented as they are, at which p stays."""
    images: int = Field(default=500_000, ge=1)
    """Images in which p can go from 0 to 1."""
    interval: int = Field(default=4, ge=1)
    """Turns of the discriminator between two changes of p."""
    start: float = Field(default=0.0, ge=0.0, le=1.0)
    """p at the start."""
    anneal: Anneal | None = None
    """How p goes on from `start` with the images seen, whatever the logits (Huang et al. 2024); null adapts it."""
    pixels: bool = True
    """Mirroring, quarter turns, and shifts by whole pixels."""
    geometry: bool = True
    """Scaling, rotation, stretching, and shifts by parts of a pixel."""
    color: bool = True
    """Brightness, contrast, inversion of luma, hue, and saturation."""

    @model_validator(mode="after")
    def _ends_at_a_probability(self) -> Self:
        if self.anneal is not None and not 0.0 <= self.anneal.to <= 1.0:
            raise ValueError(f"anneal.to is a probability, at least 0 and at most 1, not {self.anneal.to:g}")
        return self

    def refuse(self, facts: Facts) -> str | None:
        """Points have no geometry."""
        return unless_images(facts)

    def memory(self, facts: Facts) -> dict[str, Tensor]:
        """p, and what has been seen since it last changed: sum of signs, rows, turns; all rows, where p is annealed."""
        zero = torch.zeros((), dtype=torch.float64)
        return {"p": torch.full_like(zero, self.start), "signs": zero, "rows": zero, "turns": zero}

    def update(self, memory: Memory, seen: Seen) -> None:
        """Counts the signs of the turn's global batch, and moves p after every `interval` turns."""
        if seen.role != "discriminator":
            return
        real = seen["real"]
        if self.anneal is not None:
            memory.rows += len(real)
            memory.p.copy_(self._annealed(self.anneal, memory.rows))
            return
        memory.signs += real.sign().sum().double()
        memory.rows += len(real)
        memory.turns += 1
        # Without a branch on what the device knows.
        due = (memory.turns >= self.interval).double()
        way = (memory.signs / memory.rows - self.target).sign() * memory.rows / self.images
        memory.p.add_(due * way).clamp_(0.0, 1.0)
        for name in ("signs", "rows", "turns"):
            memory.get_buffer(name).mul_(1.0 - due)

    def _annealed(self, anneal: Anneal, images: Tensor) -> Tensor:
        """`anneal.value` of a number of images that only the device knows."""
        progress = ((images - anneal.begin) / anneal.over).clamp(0.0, 1.0)
        if anneal.shape == "cosine":
            progress = 0.5 * (1.0 - (math.pi * progress).cos())
        return self.start + (anneal.to - self.start) * progress

    def apply(self, images: Tensor, noise: Noise, memory: Memory | None) -> Tensor:
        """(B, C, H, W), changed with probability p."""
        assert memory is not None
        p = memory.p.to(images.dtype)
        if self.pixels or self.geometry:
            maps = torch.eye(3, device=images.device, dtype=images.dtype).expand(len(images), 3, 3)
            if self.pixels:
                maps = maps @ self._by_pixels(images, noise, p)
            if self.geometry:
                maps = maps @ self._by_geometry(images, noise, p)
            images = warped(images, maps)
        return self._recolored(images, noise, p) if self.color else images

    def _by_pixels(self, images: Tensor, noise: Noise, p: Tensor) -> Tensor:
        rows, (height, width) = len(images), images.shape[2:]
        happens, choice = noise.uniform(rows, 3) < p, noise.uniform(rows, 4)
        mirror = torch.where(happens[:, 0] & (choice[:, 0] < 0.5), -1.0, 1.0).to(images.dtype)
        quarter = torch.where(happens[:, 1], (4.0 * choice[:, 1]).floor(), 0.0) * (math.pi / 2)
        shift = torch.where(happens[:, 2:], (2.0 * choice[:, 2:] - 1.0) * 0.125, 0.0)
        across, down = (shift[:, 0] * width).round(), (shift[:, 1] * height).round()
        return _stretch(mirror, torch.ones_like(mirror)) @ _turn(quarter) @ _move(across, down)

    def _by_geometry(self, images: Tensor, noise: Noise, p: Tensor) -> Tensor:
        rows, (height, width) = len(images), images.shape[2:]
        happens, angles, normal = noise.uniform(rows, 5), noise.uniform(rows, 2), noise.normal(rows, 4)
        # Of two rotations either happens with this probability, so that one of them does with p.
        either = 1.0 - (1.0 - p).sqrt()
        scale = torch.where(happens[:, 0] < p, 2.0 ** (0.2 * normal[:, 0]), 1.0)
        before = torch.where(happens[:, 1] < either, (2.0 * angles[:, 0] - 1.0) * math.pi, 0.0)
        aspect = torch.where(happens[:, 2] < p, 2.0 ** (0.2 * normal[:, 1]), 1.0)
        after = torch.where(happens[:, 3] < either, (2.0 * angles[:, 1] - 1.0) * math.pi, 0.0)
        shift = torch.where((happens[:, 4] < p)[:, None], 0.125 * normal[:, 2:], 0.0)
        return (
            _stretch(scale, scale)
            @ _turn(before)
            @ _stretch(aspect, 1.0 / aspect)
            @ _turn(after)
            @ _move(shift[:, 0] * width, shift[:, 1] * height)
        )

    def _recolored(self, images: Tensor, noise: Noise, p: Tensor) -> Tensor:
        rows = len(images)
        happens, choice, normal = noise.uniform(rows, 5) < p, noise.uniform(rows, 2), noise.normal(rows, 3)
        brightness = torch.where(happens[:, 0], 0.2 * normal[:, 0], 0.0)
        contrast = torch.where(happens[:, 1], 2.0 ** (0.5 * normal[:, 1]), 1.0)
        inverted = torch.where(happens[:, 2] & (choice[:, 0] < 0.5), -1.0, 1.0).to(images.dtype)
        hue = torch.where(happens[:, 3], (2.0 * choice[:, 1] - 1.0) * math.pi, 0.0)
        saturation = torch.where(happens[:, 4], 2.0 ** normal[:, 2], 1.0)
        if images.shape[1] != 3:
            # Without colours: brightness, contrast and luma.
            scale, offset = contrast * inverted, brightness * contrast * inverted
            return images * scale.view(-1, 1, 1, 1) + offset.view(-1, 1, 1, 1)
        grey = torch.full((3, 3), LUMA**2, device=images.device, dtype=images.dtype)
        eye = torch.eye(3, device=images.device, dtype=images.dtype)
        colors = inverted.view(-1, 1, 1) * grey + saturation.view(-1, 1, 1) * ((eye - grey) @ _hue(hue))
        matrix = contrast.view(-1, 1, 1) * colors
        offset = matrix.sum(2) * brightness[:, None]
        return torch.einsum("bij,bjhw->bihw", matrix, images) + offset[:, :, None, None]


def _matrix(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def _stretch(across: Tensor, down: Tensor) -> Tensor:
    zero, one = torch.zeros_like(across), torch.ones_like(across)
    return _matrix([[across, zero, zero], [zero, down, zero], [zero, zero, one]])


def _turn(angle: Tensor) -> Tensor:
    zero, one, cos, sin = torch.zeros_like(angle), torch.ones_like(angle), angle.cos(), angle.sin()
    return _matrix([[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]])


def _move(across: Tensor, down: Tensor) -> Tensor:
    zero, one = torch.zeros_like(across), torch.ones_like(across)
    return _matrix([[one, zero, across], [zero, one, down], [zero, zero, one]])


def _hue(angle: Tensor) -> Tensor:
    """Rotation of colours about the grey axis (Rodrigues)."""
    cos, sin = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    like = {"device": angle.device, "dtype": angle.dtype}
    cross = LUMA * torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], **like)
    grey = torch.full((3, 3), LUMA**2, **like)
    return cos * torch.eye(3, **like) + sin * cross + (1.0 - cos) * grey
