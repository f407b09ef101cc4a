"""Samples beside the training images that come nearest to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from gandist.contract.comparing import squared_distances
from gandist.contract.components import Source
from gandist.contract.discovery import installed
from gandist.contract.scoring import Extractor
from gandist.errors import ConfigError
from gandist.using.interpreting.real import blocks, training_data
from gandist.using.interpreting.sheets import Row, require_ending, require_few, sheet, write
from gandist.using.interpreting.spaces import require_images
from gandist.using.trained import Trained

Embed = Callable[[Tensor], Tensor]
"""Images uint8 (B, C, H, W) to rows float64 (B, D), between which distances are measured."""


def write_neighbours(
    trained: Trained,
    out: Path,
    count: int = 8,
    nearest: int = 6,
    features: str | None = None,
    seed: int = 0,
    label: int | None = None,
    truncation: float | None = None,
    provenance: bool = True,
) -> dict[str, Any]:
    """Draws samples 0 to count-1 of `seed`, each with its nearest training images to the right of it.

    features: an installed extractor, in whose features the distance is Euclidean; by default pixels are compared, by
    the root of the mean squared difference in grey levels of 255. All training images are looked at, in blocks of
    64 MiB. provenance: whether the file says in its metadata that it is partly synthetic. Returns indices and
    distances. Raises ConfigError for what the run or its data do not have.
    """
    require_ending(out, (".png",), "a sheet of neighbours")
    require_images(trained, "a sheet of neighbours")
    for name, value in (("--count", count), ("--nearest", nearest)):
        if value < 1:
            raise ConfigError(f"{name} {value}: at least 1 is needed")
    require_few(count * (nearest + 1), "--count or --nearest")
    source, warning = training_data(trained)
    embed, scale = _extracted(trained, source, features) if features else _pixels(trained)
    samples = trained.sample(count, seed, label, truncation=truncation)
    distances, indices = find_nearest(samples, source, embed, min(nearest, len(source)), trained.device)
    distances = distances * scale
    rows = rows_of(samples, source, distances, indices)
    title = [
        f"{trained.config.run.name}, step {trained.step:,}: nearest of {len(source):,} training images",
        f"below each its index and distance: {_measure(features)}",
    ]
    about = trained.provenance(seed, mixed=True) if provenance else None
    write([sheet(rows, ["sample", *(str(rank + 1) for rank in range(indices.shape[1]))], title)], out, about)
    return {
        "path": str(out),
        "step": trained.step,
        "seed": seed,
        "label": label,
        "features": features,
        "distance": _measure(features),
        "training_images": len(source),
        **({"warning": warning} if warning else {}),
        "neighbours": [
            {"sample": number, "indices": near, "distances": apart}
            for number, (near, apart) in enumerate(zip(indices.tolist(), distances.tolist(), strict=True))
        ],
    }


def rows_of(
    samples: Tensor, source: Source, distances: Tensor, indices: Tensor, below: Sequence[str] = ()
) -> list[Row]:
    """Each sample with its nearest training images right of it. below: what stands under each sample."""
    rows = []
    for one, near, apart, text in zip(samples, indices, distances, below or [""] * len(samples), strict=True):
        texts = [f"#{index}, {distance:.3g}" for index, distance in zip(near.tolist(), apart.tolist(), strict=True)]
        rows.append(Row(torch.cat([one[None], source.read(near.tolist())["real"]]), below=(text, *texts)))
    return rows


def _measure(features: str | None) -> str:
    if features is None:
        return "root mean square of the difference in grey levels of 255"
    return f"Euclidean, between features of {features}"


def _pixels(trained: Trained) -> tuple[Embed, float]:
    width = 1
    for size in trained.facts.shape:
        width *= size
    return lambda images: images.flatten(1).double(), width**-0.5


def _extracted(trained: Trained, source: Source, name: str) -> tuple[Embed, float]:
    try:
        kind, fields = installed().choose(Extractor, name)
        extractor = kind.model_validate(fields)
    except (PydanticCustomError, ValidationError) as error:
        reason = error.message() if isinstance(error, PydanticCustomError) else error.errors()[0]["msg"]
        raise ConfigError(f"--features {name}: {reason}") from None
    if (reason := extractor.unfit(source)) is not None:
        raise ConfigError(f"--features {name}: {reason}; without --features, pixels are compared")
    return embedding(extractor.build(source, trained.device).to(trained.device)), 1.0


def embedding(network: nn.Module) -> Embed:
    """What an extractor's network makes of images, some hundred at a time."""

    @torch.no_grad()
    def embed(images: Tensor) -> Tensor:
        made = [network(part) for part in images.split(250)]
        return torch.cat([(part[0] if isinstance(part, tuple) else part).double() for part in made])

    return embed


def find_nearest(
    samples: Tensor, source: Source, embed: Embed, nearest: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Distances float64 and indices int64, both (N, nearest), the nearest first; of equal ones the earlier index.

    In float64 the products of bytes and their sums are exact, so that a copy in pixels lies at distance 0.
    """
    wanted = embed(samples.to(device))
    best = torch.full((len(samples), 0), float("inf"), dtype=torch.float64, device=device)
    where = torch.zeros(len(samples), 0, dtype=torch.int64, device=device)
    for start, images in blocks(source):
        rows = embed(images.to(device))
        between = squared_distances(wanted, rows)
        here = torch.arange(start, start + len(rows), device=device).expand(len(samples), -1)
        best, where = torch.cat([best, between], dim=1), torch.cat([where, here], dim=1)
        best, order = best.sort(dim=1, stable=True)
        best, where = best[:, :nearest], where.gather(1, order[:, :nearest])
    return best.sqrt().cpu(), where.cpu()
