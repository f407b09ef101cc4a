"""Pictures of samples, drawn with Pillow: a grid of images, or a scatter plot of points."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from gandist.contract.components import Watcher
from gandist.contract.hookspecs import hookimpl
from gandist.tracking.provenance import Provenance, metadata
from gandist.training.run import RunView

MOST_IMAGES = 64
CELL = 64
"""Images smaller than this many pixels are enlarged by a whole factor, up to this size."""
GAP = 2
SCATTER = 480
"""Pixels along a side of a scatter plot."""


class Grids(Watcher):
    """Writes samples/step-00001000.png into the run folder: the same latents each time, as training goes on."""

    name: ClassVar[str] = "grids"

    enabled: bool = True
    """Whether pictures are written."""

    def watch(self, run: RunView) -> GridWriter | None:
        """The writer, or None when switched off."""
        return GridWriter() if self.enabled else None


class GridWriter:
    """Writes a picture whenever there are samples, and what examinations draw."""

    @hookimpl
    def gandist_on_samples(self, run: RunView, step: int, images: Tensor) -> None:
        """images: uint8 (B, C, H, W), or points (B, D)."""
        about = Provenance(run.id, run.name, step, run.config.run.seed)
        write(picture(images), run.folder / "samples" / f"step-{step:08d}.png", about)

    @hookimpl
    def gandist_on_pictures(self, run: RunView, step: int, pictures: dict[str, Tensor]) -> None:
        """pictures: uint8 (C, H, W), written as pictures/NAME-step-00001000.png."""
        for name, one in pictures.items():
            # Charts, no generated images.
            write(as_drawn(one), run.folder / "pictures" / f"{name}-step-{step:08d}.png", None)


def picture(samples: Tensor) -> Image.Image:
    """A grid of uint8 images (B, C, H, W), or a scatter plot of points (B, D)."""
    return grid(samples) if samples.dim() == 4 else scatter(samples)


def as_drawn(one: Tensor) -> Image.Image:
    """A picture uint8 (1 or 3, H, W) in its own size."""
    pixels = one.detach().cpu().permute(1, 2, 0)
    return Image.fromarray(pixels.squeeze(-1).contiguous().numpy())


def grid(images: Tensor) -> Image.Image:
    """The first 64 of uint8 images (B, C, H, W) in a nearly square grid, row by row, small ones enlarged.

    One or two channels are shown as grey (the first), three or more as colour (the first three).
    """
    images = images[:MOST_IMAGES].detach().cpu()
    count, channels, height, width = images.shape
    pixels = images[:, : 1 if channels < 3 else 3].permute(0, 2, 3, 1)
    scale = max(1, CELL // max(height, width))
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    step_x, step_y = width * scale + GAP, height * scale + GAP
    mode = "L" if channels < 3 else "RGB"
    sheet = Image.new(mode, (columns * step_x + GAP, rows * step_y + GAP), "white")
    for index, one in enumerate(pixels):
        cell = Image.fromarray(one.squeeze(-1).contiguous().numpy())
        cell = cell.resize((width * scale, height * scale), Image.Resampling.NEAREST)
        row, column = divmod(index, columns)
        sheet.paste(cell, (GAP + column * step_x, GAP + row * step_y))
    return sheet


def scatter(points: Tensor) -> Image.Image:
    """The first two coordinates of points (B, D) about the origin; the axes' limit is written in the corner."""
    points = points.detach().cpu().float()
    points = points[torch.isfinite(points).all(1)]
    x = points[:, 0]
    y = points[:, 1] if points.shape[1] > 1 else torch.zeros_like(x)
    limit = axis_limit(points)
    sheet = Image.new("RGB", (SCATTER, SCATTER), "white")
    draw = ImageDraw.Draw(sheet)
    middle = SCATTER // 2
    draw.line((0, middle, SCATTER, middle), fill="lightgrey")
    draw.line((middle, 0, middle, SCATTER), fill="lightgrey")
    draw.rectangle((0, 0, SCATTER - 1, SCATTER - 1), outline="grey")
    draw.text((4, SCATTER - 14), f"±{limit:g}", fill="grey")
    across = (x / limit * middle + middle).tolist()
    down = (middle - y / limit * middle).tolist()
    for column, row in zip(across, down, strict=True):
        draw.ellipse((column - 1, row - 1, column + 1, row + 1), fill="navy")
    return sheet


def axis_limit(points: Tensor) -> float:
    """A round number that 99% of the coordinates of (B, D) lie well within; coarse, so that a run keeps it."""
    if not points.numel():
        return 1.0
    extent = max(1.1 * float(points.abs().flatten().quantile(0.99)), 1e-6)
    power = 10.0 ** math.floor(math.log10(extent))
    return next(power * digit for digit in (1.5, 2, 3, 5, 7.5, 10) if power * digit >= extent)


def write(image: Image.Image, path: Path, about: Provenance | None) -> None:
    """Saves a PNG that says where it comes from, None to say nothing, under a temporary name first, so that whoever
    looks never sees half a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    image.save(partial, format="PNG", **metadata(about, "PNG"))
    partial.replace(path)
