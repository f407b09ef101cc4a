"""Samples written to disk: a grid, single pictures, arrays, or a walk between latents."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gandist.errors import ConfigError, did_you_mean
from gandist.tracking.grids import CELL, MOST_IMAGES, picture, write
from gandist.tracking.provenance import Provenance, metadata
from gandist.training.checkpoint import write_file
from gandist.training.sampling import draw, to_bytes
from gandist.using.trained import Trained

_MILLISECONDS = 60
"""One frame of a .gif."""


def write_samples(
    trained: Trained,
    out: Path,
    count: int = 64,
    seed: int = 0,
    label: int | None = None,
    truncation: float | None = None,
    provenance: bool = True,
) -> dict[str, Any]:
    """Writes samples 0 to count-1 of `seed`; what `out` is called says how.

    .png: one grid of at most 64 images, or a scatter plot of points. .npz: `images` uint8 (N, H, W, C) or `points`
    float32 (N, D), and `labels` int64 (N,) of a conditional generator. No ending, or a folder: one PNG a sample.
    provenance: whether PNGs say in their metadata that they are synthetic, of which run and seed.
    Raises ConfigError for another ending, and where nothing can be written.
    """
    out, how = Path(out), Path(out).suffix.lower()
    images = trained.facts.images
    if how == ".png" and images and count > MOST_IMAGES:
        raise ConfigError(
            f"{out}: a grid holds at most {MOST_IMAGES} images; give --count {MOST_IMAGES}, a folder or .npz"
        )
    folder = out.is_dir() or not how
    if not folder and how not in (".png", ".npz"):
        raise ConfigError(f"{out}: samples are written as .png, .npz, or into a folder (a name without ending)")
    if folder and not images:
        raise ConfigError(f"{out}: points are written as .npz, or drawn as .png")
    batches = trained.batches(count, seed, label, truncation=truncation)
    more = {} if label is None else {"label": label}
    about = trained.provenance(seed, more=more) if provenance else None
    try:
        if folder:
            _write_pictures(out, batches, about)
        elif how == ".png":
            write(picture(torch.cat(list(batches))), out, about)
        else:
            made = torch.cat(list(batches))
            arrays = {"images": made.permute(0, 2, 3, 1)} if images else {"points": made}
            if trained.conditional:
                arrays["labels"] = trained.labels(count, seed, label)
            _write_arrays(out, arrays)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror or error}); give another --out") from error
    return {"path": str(out), "count": count, "seed": seed, "step": trained.step}


def _write_arrays(out: Path, arrays: dict[str, Tensor]) -> None:
    buffer = io.BytesIO()
    named: dict[str, Any] = {name: rows.numpy() for name, rows in arrays.items()}
    np.savez_compressed(buffer, **named)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_file(out, buffer.getvalue())


def as_image(one: Tensor) -> Image.Image:
    """A picture of one sample, uint8 (1 or 3, H, W)."""
    return Image.fromarray(one.permute(1, 2, 0).squeeze(-1).contiguous().numpy())


def _write_pictures(out: Path, batches: Iterator[Tensor], about: Provenance | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    number = 0
    for batch in batches:
        if batch.shape[1] not in (1, 3):
            raise ConfigError(f"{out}: PNGs have 1 or 3 channels, these images {batch.shape[1]}; write .npz")
        for one in batch:
            told = about and replace(about, more={**about.more, "index": number})
            as_image(one).save(out / f"{number:06d}.png", **metadata(told, "PNG"))
            number += 1


def slerp(start: Tensor, end: Tensor, t: float) -> Tensor:
    """The latents (B, …) at `t` of the way along the great circle between two (White 2016), row by row.

    Unlike a straight line it keeps to the norms that Gaussian latents have.
    """
    a, b = start.flatten(1), end.flatten(1)
    cosine = torch.nn.functional.cosine_similarity(a, b).clamp(-1, 1)
    angle = cosine.arccos()[:, None]
    sine = angle.sin()
    # Along (nearly) one line the circle is a line.
    straight = sine < 1e-4
    safe = torch.where(straight, torch.ones_like(sine), sine)
    first = torch.where(straight, torch.full_like(sine, 1 - t), ((1 - t) * angle).sin() / safe)
    second = torch.where(straight, torch.full_like(sine, t), (t * angle).sin() / safe)
    return (first * a + second * b).view_as(start)


Way = Callable[[Tensor, Tensor, float], Tensor]
WAYS: dict[str, Way] = {"spherical": slerp, "linear": torch.lerp}
"""How a walk goes from one latent to the next."""


def write_interpolation(
    trained: Trained,
    out: Path,
    seed: int = 0,
    frames: int = 32,
    stops: int = 4,
    label: int | None = None,
    way: str = "spherical",
    provenance: bool = True,
) -> dict[str, Any]:
    """Writes a walk through `stops` latents: a .gif that ends where it began, or a .png strip that does not.

    way: spherical, along great circles, or linear, along straight lines. All frames have one label: the given one, or
    that of the first latent. provenance: as of `write_samples`.
    """
    out, how = Path(out), Path(out).suffix.lower()
    if way not in WAYS:
        raise ConfigError(f"--way {way}: a walk is {' or '.join(WAYS)}{did_you_mean(way, WAYS)}")
    if how not in (".gif", ".png"):
        raise ConfigError(f"{out}: a walk is written as .gif or .png")
    if not trained.facts.images:
        raise ConfigError(f"{trained.path}: a walk shows images, and this generator makes points")
    if frames < 2 or not 2 <= stops <= MOST_IMAGES:
        raise ConfigError(f"a walk has at least 2 frames and 2 to {MOST_IMAGES} stops, not {frames} and {stops}")
    if label is not None:
        trained.require_label(label)
    images = _walk(trained, seed, frames, stops, label, how == ".gif", WAYS[way])
    scale = max(1, CELL // max(images.shape[-2:]))
    images = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    about = trained.provenance(seed) if provenance else None
    try:
        if how == ".png":
            write(picture(torch.cat(list(images), dim=2)[None]), out, about)
        else:
            _write_gif(out, [picture(image[None]) for image in images], about)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror or error}); give another --out") from error
    return {"path": str(out), "frames": frames, "way": way, "seed": seed, "step": trained.step}


def _walk(
    trained: Trained, seed: int, frames: int, stops: int, label: int | None, closed: bool, between: Way
) -> Tensor:
    """Frames uint8 (F, C, H, W)."""
    latents, labels = draw(trained.generator, seed, 0, stops, trained.facts.classes, trained.device)
    if not isinstance(latents, Tensor):
        raise ConfigError(f"{trained.path}: a walk needs plain latents, and this generator draws several parts")
    if labels is not None:
        labels = labels[:1] if label is None else torch.full_like(labels[:1], label)
    if closed:
        latents = torch.cat([latents, latents[:1]])
    # A closed walk does not show its first latent twice.
    positions = torch.linspace(0, len(latents) - 1, frames + closed).tolist()[:frames]
    images = []
    for position in positions:
        leg = min(int(position), len(latents) - 2)
        here = between(latents[leg : leg + 1], latents[leg + 1 : leg + 2], position - leg)
        images.append(to_bytes(trained.render(here, labels)).cpu())
    return torch.cat(images)


def _write_gif(out: Path, pictures: list[Image.Image], about: Provenance | None) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        first, *rest = pictures
        how: dict[str, Any] = {"duration": _MILLISECONDS, "loop": 0, **metadata(about, "GIF")}
        first.save(partial, format="GIF", save_all=True, append_images=rest, **how)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
