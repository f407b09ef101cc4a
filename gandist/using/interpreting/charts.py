"""A histogram, drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw
from torch import Tensor

from gandist.using.interpreting.sheets import GREY, INK, font, plain

BLUE, GREEN, RED = (0, 114, 178), (0, 158, 115), (213, 94, 0)
"""Of Okabe & Ito (2008), told apart by the colour-blind too."""
WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 18, 74, 50
_FINER = 3
"""Drawn so many times as large and scaled down, for smooth lines."""
_RULE = (226, 226, 226)


class Series(NamedTuple):
    """A name for the legend, a colour, and the share in each bin (bins,), 0 to 1."""

    name: str
    colour: tuple[int, int, int]
    shares: Tensor


def ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Round numbers from `low` to `high`, at most so many: multiples of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(power * digit for digit in (1, 2, 5, 10, 20) if (high - low) / (power * digit) <= most - 1)
    return [step * number for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def histogram(
    series: Sequence[Series], edges: Sequence[float], across: str, up: str, title: str, note: str = ""
) -> Image.Image:
    """Steps of each series over the bins between `edges`, with axes, a legend, and a note under the title."""
    low, high = edges[0], edges[-1]
    highest = 1.08 * max(float(one.shares.max()) for one in series)
    k = _FINER
    large = Image.new("RGBA", (WIDTH * k, HEIGHT * k), "white")

    def x(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / highest * (HEIGHT - TOP - BOTTOM)

    draw = ImageDraw.Draw(large)
    across_ticks, up_ticks = ticks(low, high), ticks(0.0, highest, 6)
    for value in up_ticks:
        draw.line([(LEFT * k, y(value) * k), ((WIDTH - RIGHT) * k, y(value) * k)], fill=_RULE, width=k)
    if low < 0 < high:
        draw.line([(x(0) * k, TOP * k), (x(0) * k, (HEIGHT - BOTTOM) * k)], fill=(190, 190, 190), width=k)
    for one in series:
        outline = [(edges[0], 0.0)]
        for number, share in enumerate(one.shares.tolist()):
            outline += [(edges[number], share), (edges[number + 1], share)]
        outline.append((edges[-1], 0.0))
        points = [(x(a) * k, y(b) * k) for a, b in outline]
        layer = Image.new("RGBA", large.size, (0, 0, 0, 0))
        ImageDraw.Draw(layer).polygon(points, fill=(*one.colour, 56))
        ImageDraw.Draw(layer).line(points, fill=(*one.colour, 255), width=2 * k, joint="curve")
        large = Image.alpha_composite(large, layer)
    draw = ImageDraw.Draw(large)
    draw.line([(LEFT * k, y(0) * k), ((WIDTH - RIGHT) * k, y(0) * k)], fill=INK, width=k)
    for value in across_ticks:
        draw.line([(x(value) * k, y(0) * k), (x(value) * k, (y(0) + 4) * k)], fill=INK, width=k)
    picture = large.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    text, small = font(13), font(12)
    for value in across_ticks:
        draw.text((x(value), y(0) + 13), f"{value + 0.0:.6g}", font=small, fill=INK, anchor="mm")
    for value in up_ticks:
        draw.text((LEFT - 7, y(value)), f"{value:.3g}", font=small, fill=INK, anchor="rm")
    draw.text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14), across, font=small, fill=INK, anchor="mm")
    _upright(picture, up)
    draw.text((LEFT, 10), plain(title), font=text, fill=INK)
    draw.text((LEFT, 54), plain(note), font=font(11), fill=GREY)
    _legend(draw, series)
    return picture


def _upright(picture: Image.Image, text: str) -> None:
    """Text beside the upright axis, read from below."""
    label = Image.new("RGB", (HEIGHT - TOP - BOTTOM, 18), "white")
    ImageDraw.Draw(label).text((label.width / 2, 9), plain(text), font=font(12), fill=INK, anchor="mm")
    picture.paste(label.rotate(90, expand=True), (4, TOP))


def _legend(draw: ImageDraw.ImageDraw, series: Sequence[Series]) -> None:
    """A square and a name for each series, in one line under the title."""
    along = LEFT
    for name, colour, _ in series:
        draw.rectangle((along, 34, along + 11, 45), fill=colour)
        draw.text((along + 17, 40), plain(name), font=font(12), fill=INK, anchor="lm")
        along += 17 + int(font(12).getlength(plain(name))) + 22
