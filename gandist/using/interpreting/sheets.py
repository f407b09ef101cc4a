"""Pictures in rows and columns with captions, drawn with Pillow."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gandist.errors import ConfigError
from gandist.tracking.grids import CELL, GAP
from gandist.tracking.provenance import Provenance, metadata
from gandist.training.checkpoint import write_file

INK, GREY = (30, 30, 30), (110, 110, 110)
TEXT, SMALL, MARGIN, LINE = 13, 11, 10, 16
LARGEST = 128
"""Larger images are scaled down to this many pixels a side; those below `CELL` are enlarged by a whole factor."""
MOST_PICTURES = 4096
"""On a sheet, or in all frames of a .gif."""
_MILLISECONDS = 60


@dataclass(frozen=True)
class Row:
    """Pictures beside each other: images uint8 (N, C, H, W), the lines left of them, one text under each or none."""

    images: Tensor
    caption: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    apart: bool = True
    """Whether there is a space above it; rows of one group stand close."""


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own; it has the letters of ASCII, and `plain` makes others readable."""
    return ImageFont.load_default(size)


def plain(text: str) -> str:
    """The text with what the font lacks replaced."""
    return text.encode("ascii", "replace").decode("ascii")


def cells(images: Tensor) -> list[Image.Image]:
    """Images uint8 (N, C, H, W) as pictures in colour; one or two channels are shown as grey, the first of them."""
    channels, height, width = images.shape[1:]
    pixels = images[:, : 1 if channels < 3 else 3].permute(0, 2, 3, 1)
    factor = max(1, CELL // max(height, width))
    wide, high = width * factor, height * factor
    shrunk = max(1.0, max(wide, high) / LARGEST)
    size = max(1, round(wide / shrunk)), max(1, round(high / shrunk))
    how = Image.Resampling.NEAREST if shrunk == 1 else Image.Resampling.LANCZOS
    return [Image.fromarray(one.squeeze(-1).contiguous().numpy()).convert("RGB").resize(size, how) for one in pixels]


def sheet(rows: Sequence[Row], columns: Sequence[str] = (), title: Sequence[str] = ()) -> Image.Image:
    """The rows under each other, with a text above each column and lines above all."""
    drawn = [cells(row.images) for row in rows]
    wide, high = drawn[0][0].size
    text, small = font(TEXT), font(SMALL)
    left = MARGIN + max((int(text.getlength(plain(line))) + 12 for row in rows for line in row.caption), default=0)
    texts = [*columns, *(under for row in rows for under in row.below)]
    step = max(wide, *(int(small.getlength(plain(one))) + 6 for one in texts), 0) + GAP if texts else wide + GAP
    top = MARGIN + LINE * len(title) + (6 if title else 0)
    width = left + step * max(map(len, drawn)) + MARGIN
    width = max(width, 2 * MARGIN + max((int(text.getlength(plain(line))) for line in title), default=0))
    heights = [high + GAP + (14 if row.below else 0) + (6 if row.apart else 0) for row in rows]
    picture = Image.new("RGB", (width, top + (LINE if columns else 0) + sum(heights) + MARGIN), "white")
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(title):
        draw.text((MARGIN, MARGIN + number * LINE), plain(line), font=text, fill=INK if number == 0 else GREY)
    for number, column in enumerate(columns):
        draw.text((left + number * step + step / 2, top + 7), plain(column), font=small, fill=GREY, anchor="mm")
    down = top + (LINE if columns else 0)
    for row, pictures, height in zip(rows, drawn, heights, strict=True):
        down += 6 if row.apart else 0
        start = down + (high - LINE * len(row.caption)) / 2
        for number, line in enumerate(row.caption):
            draw.text((MARGIN, start + number * LINE), plain(line), font=text, fill=INK if number == 0 else GREY)
        for number, one in enumerate(pictures):
            picture.paste(one, (left + number * step + (step - wide) // 2, down))
        for number, under in enumerate(row.below):
            at = (left + number * step + step / 2, down + high + 8)
            draw.text(at, plain(under), font=small, fill=GREY, anchor="mm")
        down += height - (6 if row.apart else 0)
    return picture


def require_ending(out: Path, endings: Sequence[str], what: str) -> str:
    """The ending of `out`, in small letters. Raises ConfigError for one that is not among `endings`."""
    ending = out.suffix.lower()
    if ending not in endings:
        known = f"{', '.join(endings[:-1])} or {endings[-1]}" if len(endings) > 1 else endings[0]
        raise ConfigError(f"--out {out}: {what} is written as {known}")
    if out.is_dir():
        raise ConfigError(f"--out {out}: is a folder; give the name of a file in it")
    return ending


def require_few(pictures: int, how: str) -> None:
    """Raises ConfigError if so many pictures are too many for one file."""
    if pictures > MOST_PICTURES:
        raise ConfigError(f"{pictures:,} pictures are more than the {MOST_PICTURES:,} of one file: give less {how}")


def write(pictures: Sequence[Image.Image], out: Path, about: Provenance | None = None) -> None:
    """Writes one picture as .png, or several as the frames of a .gif, whole or not at all.

    about: what the file says of generated images in it; None writes no metadata.
    """
    buffer = io.BytesIO()
    if out.suffix.lower() == ".gif":
        pictures = [one.quantize(256) for one in pictures]
        how: dict[str, Any] = {"duration": _MILLISECONDS, "loop": 0, **metadata(about, "GIF")}
        pictures[0].save(buffer, format="GIF", save_all=True, append_images=pictures[1:], **how)
    else:
        pictures[0].save(buffer, format="PNG", optimize=True, **metadata(about, "PNG"))
    save(buffer.getvalue(), out)


def save(content: bytes, out: Path) -> None:
    """Writes a file whole or not at all. Raises ConfigError where nothing can be written."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_file(out, content)
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror or error}); give another place") from error
