"""One sample at several strengths of truncation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gandist.errors import ConfigError
from gandist.using.interpreting.sheets import Row, require_ending, require_few, sheet, write
from gandist.using.interpreting.spaces import require_images
from gandist.using.trained import Trained

STRENGTHS = (0.2, 0.4, 0.6, 0.7, 0.8, 1.0)
MEASURED = 64
"""Samples that the variety is measured on."""
_FRAMES = 24


def write_truncation(
    trained: Trained,
    out: Path,
    psi: Sequence[float] = STRENGTHS,
    samples: int = 6,
    seed: int = 0,
    label: int | None = None,
    provenance: bool = True,
) -> dict[str, Any]:
    """Draws samples 0 to samples-1 at each psi, as `gandist sample --truncation` makes them.

    .png: a row for each sample, a column for each psi. .gif: all samples, from the smallest psi to the largest,
    and back. provenance: whether the file says in its metadata that the images are synthetic.
    Returns the variety at each psi: the standard deviation of a pixel over 64 samples, averaged over pixels, in grey
    levels of 255. Raises ConfigError for a generator that cannot be truncated.
    """
    ending = require_ending(out, (".png", ".gif"), "a sweep of truncation")
    require_images(trained, "truncation")
    if samples < 1:
        raise ConfigError(f"--samples {samples}: at least 1 is needed")
    if not psi or not all(0 < one <= 1 for one in psi):
        given = ", ".join(f"{one:g}" for one in psi)
        raise ConfigError(f"--psi {given}: strengths of truncation are above 0 and at most 1")
    shown = list(psi)
    if ending == ".gif":
        if len(psi) < 2:
            raise ConfigError(f"--psi {psi[0]:g}: a .gif goes from one psi to another; give both")
        shown = torch.linspace(min(psi), max(psi), _FRAMES).tolist()
    require_few(samples * len(shown), "--samples or --psi")
    made = [trained.sample(max(samples, MEASURED), seed, label, truncation=min(1.0, one)) for one in shown]
    variety = [float(images[:MEASURED].float().std(0).mean()) for images in made]
    about = trained.provenance(seed) if provenance else None
    title = f"{trained.config.run.name}, step {trained.step:,}: truncation"
    if ending == ".png":
        rows = [Row(torch.stack([images[i] for images in made])) for i in range(samples)]
        rows[-1] = Row(rows[-1].images, below=tuple(f"variety {one:.0f}" for one in variety))
        write([sheet(rows, [f"psi {one:g}" for one in shown], [title])], out, about)
    else:
        columns = -(-samples // max(1, round(samples**0.5)))
        there = []
        for one, images in zip(shown, made, strict=True):
            rows = [Row(images[:samples][i : i + columns], apart=i == 0) for i in range(0, samples, columns)]
            there.append(sheet(rows, title=[title, f"psi {one:.2f}"]))
        write([*there, *there[-2:0:-1]], out, about)
    return {
        "path": str(out),
        "step": trained.step,
        "seed": seed,
        "label": label,
        "psi": shown,
        "variety": variety,
    }
