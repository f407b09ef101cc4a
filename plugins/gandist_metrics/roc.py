"""ROC curves and their pictures."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

SIDE = 360
"""Pixels along a side of the square that the curve is drawn in."""
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 44, 68
"""Pixels around it, for numbers and words."""
FINER = 4
"""Lines are drawn this many times as large and made smaller: Pillow's own have steps."""
GRID, INK, CURVE, BELOW = "#e3e3e3", "#444444", "#1f5fa8", "#e7eef7"


def roc(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Share of the negative and of the positive samples that score at least as high, float64 (K + 1,) each, for all
    thresholds from above the highest of the K different scores to the lowest: from (0, 0) to (1, 1).

    scores: (N,). positive: bool (N,), with both kinds. The area under the line through these points is `auroc`.
    """
    values, place = torch.unique(-scores.double(), return_inverse=True)

    def share(kind: Tensor) -> Tensor:
        found = torch.bincount(place[kind], minlength=len(values)).cumsum(0).double()
        return torch.cat([found.new_zeros(1), found / found[-1]])

    return share(~positive), share(positive)


def drawn(false: Tensor, true: Tensor, area: float, count: int, positive: int) -> Tensor:
    """A picture uint8 (3, H, W) of the curve through the points (false, true), above the diagonal of guessing.

    area: below it. count, positive: of the samples, and of those among them that should be found.
    """
    width, height = LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM
    fine = Image.new("RGB", (width * FINER, height * FINER), "white")
    pen = ImageDraw.Draw(fine)
    marks = [number / 5 for number in range(6)]
    points = _on_sheet(false, true)
    pen.polygon([*points, _corner(1, 0), _corner(0, 0)], fill=BELOW)
    for mark in marks:
        pen.line([_corner(mark, 0), _corner(mark, 1)], fill=GRID, width=FINER)
        pen.line([_corner(0, mark), _corner(1, mark)], fill=GRID, width=FINER)
    for number in range(0, 60, 2):
        pen.line([_corner(number / 60, number / 60), _corner((number + 1) / 60, (number + 1) / 60)], INK, FINER)
    pen.line(points, fill=CURVE, width=2 * FINER + FINER // 2, joint="curve")
    pen.rectangle([_corner(0, 1), _corner(1, 0)], outline=INK, width=FINER)
    sheet = fine.resize((width, height), Image.Resampling.BOX)
    _written(sheet, marks, area, count, positive)
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1)


def _corner(x: float, y: float) -> tuple[float, float]:
    """Where shares lie on the fine sheet."""
    return (LEFT + x * SIDE) * FINER, (TOP + (1 - y) * SIDE) * FINER


def _on_sheet(false: Tensor, true: Tensor) -> list[tuple[float, float]]:
    """The points of the curve, without those between which nobody could see a step."""
    fine = torch.stack([false, true], 1).mul(SIDE * FINER).round().unique_consecutive(dim=0).div(SIDE * FINER)
    return [_corner(x, y) for x, y in fine.tolist()]


def _written(sheet: Image.Image, marks: list[float], area: float, count: int, positive: int) -> None:
    pen, small, large = ImageDraw.Draw(sheet), ImageFont.load_default(13), ImageFont.load_default(17)
    for mark in marks:
        across, down = LEFT + mark * SIDE, TOP + (1 - mark) * SIDE
        pen.text((across, TOP + SIDE + 8), f"{mark:g}", fill=INK, font=small, anchor="mt")
        pen.text((LEFT - 8, down), f"{mark:g}", fill=INK, font=small, anchor="rm")
    pen.text((LEFT + SIDE / 2, TOP + SIDE + 34), "share of normal samples flagged", INK, small, "mt")
    strip = Image.new("RGB", (SIDE, 20), "white")
    ImageDraw.Draw(strip).text((SIDE / 2, 10), "share of anomalies found", INK, small, "mm")
    sheet.paste(strip.rotate(90, expand=True), (14, TOP))
    pen.text((LEFT, TOP - 12), f"AUROC {area:.4f}", CURVE, large, "ls")
    pen.text((LEFT + SIDE, TOP - 12), f"{positive:,} anomalous of {count:,}", INK, small, "rs")
