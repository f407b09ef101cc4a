"""Samples moved along directions: a sheet, an animation, or the directions as numbers."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gandist.errors import ConfigError
from gandist.using.interpreting.found import Found
from gandist.using.interpreting.sheets import Row, require_ending, require_few, save, sheet, write
from gandist.using.interpreting.spaces import Space

ENDINGS = (".png", ".gif", ".npz")
FRAMES = 24
"""Of an animation that goes there; it comes back the same way."""


def require_walk(out: Path, count: int, samples: int, span: float, steps: int) -> None:
    """Raises ConfigError for a walk that cannot be drawn, before anything is computed."""
    ending = require_ending(out, ENDINGS, "a walk along directions")
    for name, value in (("--count", count), ("--samples", samples)):
        if value < 1:
            raise ConfigError(f"{name} {value}: at least 1 is needed")
    if not math.isfinite(span) or span <= 0:
        raise ConfigError(f"--span {span:g}: how far a walk goes, in standard deviations, is above 0")
    if steps < 2:
        raise ConfigError(f"--steps {steps}: a walk has at least 2 steps")
    if ending != ".npz":
        columns = FRAMES if ending == ".gif" else steps
        require_few(count * samples * columns, "--count, --samples or --steps")


def write_walks(
    space: Space,
    found: Found,
    out: Path,
    samples: int = 1,
    span: float = 3.0,
    steps: int = 7,
    provenance: bool = True,
) -> None:
    """Draws samples 0 to samples-1 of the space's seed, moved by -span to +span standard deviations.

    .png: a row for each direction and sample, a column for each step. .gif: a row for each direction, a column for each
    sample, there and back. .npz: `vectors` float32 (K, D), `shares`, `spreads` (K,), `layers`.
    provenance: whether pictures say in their metadata that they are synthetic.
    """
    ending = require_ending(out, ENDINGS, "a walk along directions")
    if ending == ".npz":
        _write_numbers(space, found, out)
        return
    about = space.trained.provenance(space.seed) if provenance else None
    codes = torch.cat(list(space.codes(samples, space.seed)))
    captions = [(str(number + 1), f"{share:.1%}") for number, share in enumerate(found.shares.tolist())]
    title = [f"{space.trained.config.run.name}, step {space.trained.step:,}: {found.of}"]
    if space.label is not None:
        title[0] += f", label {space.label}"
    amounts = torch.linspace(-span, span, FRAMES if ending == ".gif" else steps).tolist()
    moved = torch.stack([_moved(space, found, codes, amount) for amount in amounts])
    if ending == ".png":
        title.append("from left to right in standard deviations along each direction; its share is on the left")
        rows = [
            Row(moved[:, k, i], caption if i == 0 else (), apart=i == 0)
            for k, caption in enumerate(captions)
            for i in range(samples)
        ]
        write([sheet(rows, [f"{amount:+.3g}" if abs(amount) > 1e-6 else "0" for amount in amounts], title)], out, about)
        return
    there = [
        sheet([Row(moved[f, k], caption) for k, caption in enumerate(captions)], title=[*title, f"{amount:+.1f} sd"])
        for f, amount in enumerate(amounts)
    ]
    write([*there, *there[-2:0:-1]], out, about)


def _moved(space: Space, found: Found, codes: Tensor, amount: float) -> Tensor:
    """The samples moved along each direction: uint8 (K, samples, C, H, W)."""
    steps = amount * found.spreads[:, None] * found.vectors
    made = space.render(torch.cat([space.moved(codes, step) for step in steps]))
    return made.unflatten(0, (len(steps), len(codes)))


def _write_numbers(space: Space, found: Found, out: Path) -> None:
    arrays: dict[str, Any] = {
        "vectors": found.vectors.float().numpy(),
        "shares": found.shares.float().numpy(),
        "spreads": found.spreads.float().numpy(),
        "layers": np.array(space.layers),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    save(buffer.getvalue(), out)


def told(space: Space, found: Found, out: Path) -> dict[str, Any]:
    """What was found, for JSON: each direction's share and spread; the vectors are in the .npz."""
    rows = []
    for number, (share, spread) in enumerate(zip(found.shares.tolist(), found.spreads.tolist(), strict=True)):
        row = {"share": share, "spread": spread}
        rows.append(row if found.straight is None else row | {"linear": float(found.straight[number])})
    return {
        "path": str(out),
        "step": space.trained.step,
        "space": space.name,
        "of": found.of,
        "layers": list(space.layers) if space.styled else None,
        "label": space.label,
        "directions": rows,
    }
