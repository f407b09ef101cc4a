"""Scores anybody's samples by a run that has learnt what is normal."""

from __future__ import annotations

import csv
import itertools
import math
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gandist.contract.anomalies import ShowsAnomalies, auroc, average_precision
from gandist.errors import ConfigError
from gandist.using.calibration import Calibration, at_once, calibrated, finder, judged
from gandist.using.folders import Pictures
from gandist.using.load import load
from gandist.using.trained import Trained

COLUMNS = ("item", "score", "p_value", "flagged")
COOL = 3.0
"""Times the heat of normal images that is drawn white."""


def score(
    run: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    heatmaps: str | Path | None = None,
    false_alarms: float = 0.01,
) -> dict[str, Any]:
    """Writes a CSV with each sample's score, its p-value among held-out normal samples, and whether it is flagged.

    data: what the run's data set can read, such as another table, which may be larger than the memory; or a folder of
    images, or an .npz. heatmaps: a new folder, for a PNG an image. The result counts, and has area under the ROC curve
    and average precision where `data` says what is anomalous. Nothing is left half-written. Raises ConfigError for what
    cannot be scored.
    """
    if not 0 < false_alarms < 1:
        raise ConfigError(f"--false-alarms should be a share between 0 and 1, is {false_alarms:g}")
    out, place = Path(out), Path(heatmaps) if heatmaps is not None else None
    if out.is_dir():
        raise ConfigError(f"--out {out}: is a folder; give a file, such as {out / 'scores.csv'}")
    trained = load(run, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    _require_maps(trained, place)
    batches = _batches(trained, Path(data))
    calibration = calibrated(trained)
    threshold = calibration.threshold(false_alarms)
    maps = place.with_name(f"{place.name}.{secrets.token_hex(4)}.tmp") if place is not None else None
    file = out.with_name(f"{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if maps is not None:
            maps.mkdir(parents=True)
        with file.open("w", newline="", encoding="utf-8") as opened:
            result = _write(trained, batches, opened, calibration, threshold, maps)
        if maps is not None and place is not None:
            maps.rename(place)
        file.replace(out)
    except OSError as error:
        raise ConfigError(f"{error.filename or out}: cannot be written: {error.strerror or error}") from None
    finally:
        file.unlink(missing_ok=True)
        if maps is not None:
            shutil.rmtree(maps, ignore_errors=True)
    about = {"threshold": threshold, "false_alarms": false_alarms, "calibrated_on": len(calibration.scores)}
    return {**result, **about, "step": trained.step, "out": str(out)}


def _require_maps(trained: Trained, place: Path | None) -> None:
    loss = finder(trained)
    if place is None:
        return
    if not isinstance(loss, ShowsAnomalies) or not trained.facts.images:
        raise ConfigError(f"--heatmaps {place}: {trained.config.loss.name} makes none of such data; leave it out")
    if place.exists():
        raise ConfigError(f"--heatmaps {place}: exists; name a new folder")


Batch = tuple[list[str], Tensor, Tensor | None]
"""Names, samples, and whether they are anomalous."""


def _batches(trained: Trained, data: Path) -> Iterator[Batch]:
    """The samples of `data`, opened here and read batch by batch; a table is never in memory all at once."""
    if not data.exists():
        raise ConfigError(f"{data}: there is no such file or folder")
    blocks = trained.config.dataset.blocks(trained.facts, str(data), at_once(trained))
    if blocks is not None:
        return _of_blocks(blocks, trained, data)
    if not trained.facts.images:
        raise ConfigError(f"{data}: the run's data set {trained.config.dataset.name} cannot read other data")
    return _of_pictures(Pictures(data, trained.facts))


def _of_blocks(blocks: Iterator[tuple[list[str], dict[str, Tensor]]], trained: Trained, data: Path) -> Iterator[Batch]:
    # The first is read here, so that what is wrong from the beginning is told before anything is scored.
    first = next(blocks, None)
    if first is None:
        raise ConfigError(f"{data}: holds nothing to score")
    shape = tuple(first[1]["real"].shape[1:])
    if shape != trained.facts.shape:
        raise ConfigError(f"{data}: has samples of shape {shape}, the run {trained.facts.shape}")
    return ((names, rows["real"], rows.get("anomalous")) for names, rows in itertools.chain([first], blocks))


def _of_pictures(pictures: Pictures) -> Iterator[Batch]:
    names = iter(pictures.names)
    for batch in pictures:
        yield [next(names) for _ in batch], batch, None


def _write(
    trained: Trained,
    batches: Iterator[Batch],
    file: TextIO,
    calibration: Calibration,
    threshold: float,
    maps: Path | None,
) -> dict[str, Any]:
    writer, scores, truths, flagged, items = csv.writer(file), [], [], 0, 0
    for number, (names, samples, truth) in enumerate(batches):
        found, heat = judged(trained, samples, heat=maps is not None)
        if not found.isfinite().all():
            raise ConfigError(f"{names[int((~found.isfinite()).nonzero()[0])]}: its score is not finite")
        if number == 0:
            writer.writerow([*COLUMNS, *(["anomalous"] if truth is not None else [])])
        over = found > threshold
        columns = [names, found.tolist(), calibration.p_values(found).tolist(), over.int().tolist()]
        columns += [truth.int().tolist()] if truth is not None else []
        for name, value, p, flag, *rest in zip(*columns, strict=True):
            writer.writerow([name, f"{value:.6g}", f"{p:.4g}", flag, *rest])
        if maps is not None and heat is not None:
            for name, picture in zip(names, heat, strict=True):
                _draw(picture, calibration.hottest, maps / f"{Path(name).with_suffix('').as_posix()}.png")
        flagged += int(over.sum())
        items += len(found)
        if truth is not None:
            # All that is kept of a file of any size: areas under curves need all scores at once.
            scores.append(found)
            truths.append(truth)
    result: dict[str, Any] = {"items": items, "flagged": flagged}
    if truths:
        total, anomalous = torch.cat(scores), torch.cat(truths).bool()
        result["anomalous"] = int(anomalous.sum())
        measured = {"auroc": auroc(total, anomalous), "average_precision": average_precision(total, anomalous)}
        result |= {name: value for name, value in measured.items() if not math.isnan(value)}
    return result


def _draw(heat: Tensor, normal: float, path: Path) -> None:
    """A grey PNG: white is `COOL` times as hot as the hottest pixels of normal images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scale = 255.0 / (COOL * normal) if normal > 0 else 0.0
    pixels = (heat.numpy() * scale).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")
