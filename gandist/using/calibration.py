"""What a trained run says of normal samples that it has not seen, and the threshold that follows."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gandist.contract.anomalies import FindsAnomalies, ShowsAnomalies
from gandist.contract.components import Loss, Source
from gandist.contract.discovery import installed
from gandist.contract.turn import as_played
from gandist.errors import ConfigError
from gandist.evaluation.cache import read
from gandist.training import checkpoint
from gandist.using.trained import Trained

KEPT = "normal-scores.safetensors"
IMAGES, ROWS = 250, 4096
"""That are scored at once. Some losses draw thousands of samples for each batch, however small it is."""
LARGEST = 0.99
"""Quantile of the hottest pixels of normal images that heatmaps are scaled by."""


def finder(trained: Trained) -> FindsAnomalies:
    """The run's loss. Raises ConfigError that names the losses that score anomalies, if it does not."""
    loss = trained.config.loss
    if isinstance(loss, FindsAnomalies):
        return loss
    # A class has no instance to ask: its method is what the protocol asks for.
    able = sorted(one.name for one in installed().components(Loss) if hasattr(one, "anomaly"))
    raise ConfigError(f"{trained.path}: {loss.name} does not score anomalies; train with loss {' or '.join(able)}")


def at_once(trained: Trained) -> int:
    """Samples of a batch."""
    return IMAGES if trained.facts.images else ROWS


@torch.no_grad()
def judged(trained: Trained, samples: Tensor, heat: bool = False) -> tuple[Tensor, Tensor | None]:
    """Scores (B,) float64, and heatmaps (B, H, W) of images if wanted and the loss makes some, on the CPU."""
    loss, players = finder(trained), trained.players
    samples = as_played(samples.to(trained.device))
    maps = None
    if heat and samples.dim() == 4 and isinstance(loss, ShowsAnomalies):
        maps = loss.heatmap(players, samples).cpu()
    return loss.anomaly(players, samples).double().cpu(), maps


@dataclass(frozen=True)
class Calibration:
    """Scores of held-out normal samples, in ascending order, and how hot their hottest pixels get."""

    scores: Tensor
    hottest: float

    def threshold(self, false_alarms: float) -> float:
        """What at most this share of fresh normal samples exceeds, as one more sample among them would (conformal
        prediction: Vovk et al. 2005; for anomalies Laxhammar 2010).

        Raises ConfigError where there are too few held-out normal samples for so small a share.
        """
        count = len(self.scores)
        place = math.ceil((count + 1) * (1 - false_alarms))
        if place > count:
            least = math.ceil(1 / false_alarms) - 1
            raise ConfigError(
                f"--false-alarms {false_alarms:g} needs at least {least} held-out normal samples, there are {count}; "
                f"the smallest share that they allow is {1 / (count + 1):.3g}"
            )
        return float(self.scores[place - 1])

    def p_values(self, scores: Tensor) -> Tensor:
        """Share of normal samples that score at least as high, each sample itself counted in, (B,)."""
        higher = len(self.scores) - torch.searchsorted(self.scores, scores)
        return (higher + 1) / (len(self.scores) + 1)


def calibrated(trained: Trained) -> Calibration:
    """Of a run, computed from its data set once and kept beside its weights.

    Raises ConfigError where neither is there, or where the data set holds out no normal samples.
    """
    place = _folder(trained) / KEPT
    known = read(place)
    about = {"step": str(trained.step), "weights": _sum(trained.players)}
    if known is not None and known[1] == about and {"scores", "hottest"} <= known[0].keys():
        return Calibration(known[0]["scores"], float(known[0]["hottest"]))
    found = _measured(trained, _held_out(trained))
    # Read-only runs are scored as well; it takes the data set each time.
    with suppress(OSError):
        checkpoint.write_tensors(place, {"scores": found.scores, "hottest": torch.tensor(found.hottest)}, about)
    return found


def _folder(trained: Trained) -> Path:
    inside = trained.path.parent.name == "checkpoints" and checkpoint.step_of(trained.path) is not None
    # What lies in a checkpoint folder is listed in its manifest.
    return trained.path.parent.parent if inside else trained.path


def _sum(players: Any) -> str:
    """Tells weights apart; the step alone does not, after --fresh."""
    total = sum((p.double().sum() for network in players.values() for p in network.parameters()), torch.zeros(()))
    return f"{float(total):.12g}"


def _held_out(trained: Trained) -> Source:
    name = trained.config.dataset.name
    try:
        source = trained.config.dataset.open()
    except ConfigError as error:
        raise ConfigError(
            f"{trained.path}: the threshold comes from held-out normal samples of its data set, which cannot be "
            f"opened: {error}"
        ) from None
    held = source.held_out()
    if held is None or not len(held):
        raise ConfigError(f"{trained.path}: its data set {name} holds out no samples to set a threshold by")
    if source.facts.fitted != trained.facts.fitted:
        raise ConfigError(f"{trained.path}: its data set has changed since; train anew, or put the old one back")
    return held


def _measured(trained: Trained, held: Source) -> Calibration:
    scores: list[Tensor] = []
    hottest: list[Tensor] = []
    size = at_once(trained)
    for start in range(0, len(held), size):
        rows = held.read(range(start, min(len(held), start + size)))
        samples = rows["real"]
        if "anomalous" in rows:
            samples = samples[~rows["anomalous"].bool()]
        if len(samples):
            found, maps = judged(trained, samples, heat=True)
            scores.append(found)
            hottest += [] if maps is None else [maps.flatten(1).amax(1)]
    if not scores:
        raise ConfigError(f"{trained.path}: its data set holds out no normal samples to set a threshold by")
    peak = float(torch.cat(hottest).double().quantile(LARGEST)) if hottest else 0.0
    return Calibration(torch.cat(scores).sort().values, peak)
