"""Confusion matrices and their pictures."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

CELL, EDGE = 44, 96
"""Pixels of a cell, and of the place for names on the left and above."""
MOST_WRITTEN = 24
"""Classes up to which cells hold their counts, and names stand beside them."""
SMALLEST = 640
"""Pixels of a picture of more classes than that."""


def confusion_matrix(labels: Tensor, given: Tensor, classes: int) -> Tensor:
    """How many samples of each class (row) were given which class (column), int64 (classes, classes)."""
    return torch.bincount(labels * classes + given, minlength=classes**2).view(classes, classes)


def drawn(matrix: Tensor, names: tuple[str, ...]) -> Tensor:
    """A picture uint8 (3, H, W): the darker a cell, the larger the share of its row. Right answers are blue, wrong ones
    red."""
    share = (matrix.double() / matrix.sum(1, keepdim=True).clamp_min(1)).numpy()
    right = np.eye(len(share), dtype=bool)
    fade = 255 - 225 * np.sqrt(share)
    colours = np.stack([np.where(right, fade, 255), fade, np.where(right, 255, fade)], -1).round().astype(np.uint8)
    if len(share) > MOST_WRITTEN:
        scale = max(1, SMALLEST // len(share))
        return torch.from_numpy(colours.repeat(scale, 0).repeat(scale, 1)).permute(2, 0, 1)
    side = EDGE + CELL * len(share)
    sheet = Image.new("RGB", (side + 8, side + 8), "white")
    sheet.paste(Image.fromarray(colours.repeat(CELL, 0).repeat(CELL, 1)), (EDGE, EDGE))
    pen = ImageDraw.Draw(sheet)
    for row in range(len(share)):
        middle = EDGE + CELL * row + CELL // 2
        pen.text((EDGE - 6, middle), names[row][:14], fill="black", anchor="rm")
        _upright(sheet, names[row][:14], middle)
        for column in range(len(share)):
            if count := int(matrix[row, column]):
                ink = "white" if share[row, column] > 0.5 else "black"
                pen.text((EDGE + CELL * column + CELL // 2, middle), str(count), fill=ink, anchor="mm")
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1)


def _upright(sheet: Image.Image, name: str, middle: int) -> None:
    """Writes a name from below upwards, above its column."""
    strip = Image.new("RGB", (EDGE - 8, 14), "white")
    ImageDraw.Draw(strip).text((0, 7), name, fill="black", anchor="lm")
    sheet.paste(strip.rotate(90, expand=True), (middle - 7, 2))
