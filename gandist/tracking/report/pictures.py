"""The pictures of runs, as a page holds them: as they are where that fits, else fewer and smaller ones."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from gandist.tracking.report.reading import Account

MOST_PIXELS = 50_000_000
"""Of a picture; a few kilobytes of PNG can hold gigabytes of them."""
_TRIES = ((200, 1600), (100, 1200), (60, 1000), (60, 700), (40, 700), (40, 500), (24, 500), (24, 350), (12, 350))
"""Pictures of a run and pixels along a side, from the best to what fits in the end."""
_QUALITY = 80
_DRAWINGS = 600_000
"""Bytes of a page for what examinations drew, about as many."""
MOST_DRAWINGS = 8
"""Of a run."""
_DRAWN_SIDE = 480
"""Pixels along a side of one that has to be made smaller."""


@dataclass(frozen=True)
class Frame:
    """A picture. source: a data URI."""

    step: int
    images: int
    source: str
    width: int
    height: int


@dataclass(frozen=True)
class Album:
    """The pictures of one run in order, and what was done to them."""

    frames: tuple[Frame, ...]
    note: str
    damaged: tuple[str, ...]


def albums(runs: Sequence[Account], room: int) -> list[Album]:
    """The pictures of each run, together at most `room` bytes on the page, except for those that fit no room at all."""
    each = room // max(1, len(runs))
    return [_album(run, each) for run in runs]


def _album(run: Account, room: int) -> Album:
    damaged: list[str] = []
    found: tuple[Frame, ...] = ()
    if sum(_encoded(path.stat().st_size) for _, _, path in run.pictures) <= room:
        frames = [_frame(step, images, path, None, damaged) for step, images, path in run.pictures]
        return Album(tuple(frame for frame in frames if frame), "", tuple(damaged))
    for count, side in _TRIES:
        chosen = [run.pictures[index] for index in spread(len(run.pictures), count)]
        # The newest pictures are the hardest to pack: one of them tells whether the others need be tried.
        last = _frame(*chosen[-1], side, [])
        if last is not None and len(last.source) * len(chosen) > room and (count, side) != _TRIES[-1]:
            continue
        damaged.clear()
        frames = [_frame(step, images, path, side, damaged) for step, images, path in chosen]
        found = tuple(frame for frame in frames if frame)
        if sum(len(frame.source) for frame in found) <= room:
            break
    note = f"{len(found)} of {len(run.pictures)} pictures, made smaller to keep this page small"
    return Album(found, note, tuple(damaged))


def drawings(runs: Sequence[Account]) -> list[tuple[dict[str, Frame], tuple[str, ...]]]:
    """Of each run what its examinations drew last, by name, and which of them are damaged."""
    count = sum(min(len(run.drawings), MOST_DRAWINGS) for run in runs)
    found = []
    for run in runs:
        frames: dict[str, Frame] = {}
        damaged: list[str] = []
        for name, (step, images, path) in list(run.drawings.items())[:MOST_DRAWINGS]:
            small = _encoded(path.stat().st_size) <= _DRAWINGS // count
            frame = _frame(step, images, path, None if small else _DRAWN_SIDE, damaged)
            frames |= {name: frame} if frame else {}
        found.append((frames, tuple(damaged)))
    return found


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` indices, evenly spread, with the first and the last."""
    if count <= most:
        return list(range(count))
    return sorted({round(index * (count - 1) / (most - 1)) for index in range(most)})


def _frame(step: int, images: int, path: Path, side: int | None, damaged: list[str]) -> Frame | None:
    """One picture: the file itself, or with `side` a smaller one as WebP. None if it cannot be read."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"has {image.width} × {image.height} pixels")
            image.load()
            width, height = image.size
            if side is None:
                return Frame(step, images, _uri("png", path.read_bytes()), width, height)
            image = image.convert("L" if image.mode == "L" else "RGB")
            image.thumbnail((side, side), Image.Resampling.LANCZOS)
            content = io.BytesIO()
            # With what the picture said of itself.
            image.save(content, format="WEBP", quality=_QUALITY, xmp=image.info.get("xmp", b""))
            return Frame(step, images, _uri("webp", content.getvalue()), *image.size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        damaged.append(f"{path.parent.name}/{path.name} cannot be shown: {error}")
        return None


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _encoded(size: int) -> int:
    """Characters of a data URI of so many bytes."""
    return 4 * -(-size // 3) + 32
