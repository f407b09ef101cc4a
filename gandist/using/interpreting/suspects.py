"""The samples that a metric suspects most, beside the training images that come nearest to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gandist.config.schema import Evaluate
from gandist.contract.components import Source
from gandist.contract.discovery import installed
from gandist.contract.scoring import Metric
from gandist.errors import ConfigError
from gandist.evaluation.evaluator import Evaluator
from gandist.evaluation.metrics import pointing
from gandist.using.interpreting.neighbours import embedding, find_nearest, rows_of
from gandist.using.interpreting.sheets import sheet, write

SHOWN, NEAREST = 8, 6


def require_pointing(section: Evaluate, source: Source, folder: Path) -> None:
    """Raises ConfigError if no metric points at single samples, or if there is nothing to see of them."""
    if not source.facts.images:
        raise ConfigError(f"--pictures {folder}: there are pictures of images only, the data set has points")
    if not pointing(section.metrics):
        known = ", ".join(pointing(installed().components(Metric)))  # type: ignore[arg-type]
        raise ConfigError(f"--pictures {folder}: no metric here points at single samples; ask for --metrics {known}")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--pictures {folder}: is a file; give a folder")


def write_suspects(
    evaluator: Evaluator, section: Evaluate, source: Source, made: Callable[[int], Tensor], folder: Path, title: str
) -> dict[str, Any]:
    """Writes FOLDER/METRIC.png for each metric that points at samples: the eight it suspects most, a row each.

    made: sample by its index, uint8 (C, H, W). All training images are looked at, in the metric's space. Returns by
    metric the path, and the samples with indices and distances of their nearest training images.
    """
    found = {}
    for metric in section.metrics:
        if (suspicion := evaluator.suspicion.get(metric.name)) is None:
            continue
        space = metric.space(section.features)
        network = evaluator.prepare().networks[space]
        assert space is not None
        assert network is not None
        order = suspicion.argsort(descending=True, stable=True)
        chosen, guilty = order[:SHOWN].tolist(), int((suspicion >= 0).sum())
        samples = torch.stack([made(index).cpu() for index in chosen])
        device = next((tensor.device for tensor in network.state_dict().values()), torch.device("cpu"))
        nearest = min(NEAREST, len(source))
        distances, indices = find_nearest(samples, source, embedding(network), nearest, device)
        below = [f"{index} !" if place < guilty else f"{index}" for place, index in enumerate(chosen)]
        lines = [
            f"{title}: {metric.name} suspects {guilty:,} of {len(suspicion):,} samples (!)",
            f"beside them the nearest of {len(source):,} training images, by features of {space.name}: index, distance",
        ]
        path = folder / f"{metric.name}.png"
        columns = ["sample", *(str(rank + 1) for rank in range(nearest))]
        write([sheet(rows_of(samples, source, distances, indices, below), columns, lines)], path)
        found[metric.name] = {"path": str(path), "suspected": guilty, "samples": _told(chosen, indices, distances)}
    return found


def _told(chosen: list[int], indices: Tensor, distances: Tensor) -> list[Mapping[str, Any]]:
    rows = zip(chosen, indices.tolist(), distances.tolist(), strict=True)
    return [{"sample": one, "indices": near, "distances": apart} for one, near, apart in rows]
