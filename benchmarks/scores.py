"""Scores of docs/results.md that `gandist evaluate` does not give."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gandist_metrics.classes import confident
from torch import Tensor

import gandist
from gandist.evaluation.classifier import Classifier
from gandist.using.trained import Trained

STACKED = 26_000
"""Samples of the protocol for stacked digits (Metz et al. 2017; Lin et al. 2018, section 4.2)."""
LABELLED = 10_000
CPU = torch.device("cpu")


def none(run: Path) -> dict[str, float]:
    """The scores of result.json suffice."""
    return {}


def stacked(run: Path) -> dict[str, float]:
    """Modes among 26,000 samples, by a classifier of single planes, KL(samples' modes ‖ real ones), and how many
    samples the classifier is sure of in all three planes; the same of as many real samples."""
    trained = gandist.load(run)
    source: Any = trained.config.dataset.open()
    classifier = gandist.fitted_classifier(source.source, CPU).eval()
    real = source.read(range(STACKED))["real"]
    mine = _numbers(classifier, trained.batches(STACKED))
    theirs = _numbers(classifier, real.split(500))
    found, known = (torch.bincount(numbers, minlength=1000).double() / STACKED for numbers, _ in (mine, theirs))
    seen = known > 0
    return {
        "modes_hit": float((found > 0).sum()),
        "kl": float(torch.xlogy(found[seen], found[seen] / known[seen]).sum()),
        "kl_left_out": float(found[~seen].sum()),
        "sure": mine[1],
        "modes_real": float(seen.sum()),
        "sure_real": theirs[1],
    }


def _numbers(classifier: Classifier, batches: Any) -> tuple[Tensor, float]:
    """The number from 0 to 999 that three planes make, int64 (N,), and the share of samples whose planes are sure."""
    numbers, sure = [], []
    with torch.no_grad():
        for batch in batches:
            _, logits = classifier(batch.flatten(0, 1)[:, None])
            planes = logits.argmax(1).view(-1, 3)
            numbers.append(planes @ torch.tensor([100, 10, 1]))
            sure.append(confident(logits).view(-1, 3).all(1))
    return torch.cat(numbers), float(torch.cat(sure).double().mean())


def conditional(run: Path) -> dict[str, float]:
    """The share of 10,000 samples that are classified as the label asked for, its least over the labels, and that of
    real samples that the classifier has not seen."""
    trained: Trained = gandist.load(run)
    judge = gandist.fitted_classifier(trained.config.dataset.open(), CPU).eval()
    asked = trained.labels(LABELLED)
    with torch.no_grad():
        said = torch.cat([judge(batch)[1].argmax(1) for batch in trained.batches(LABELLED)])
    right = (said == asked).double()
    least = min(float(right[asked == label].mean()) for label in range(trained.facts.classes))
    assert not math.isnan(least)
    return {"as_asked": float(right.mean()), "as_asked_least": least, "as_asked_real": judge.accuracy}


SCORES: dict[str, Callable[[Path], dict[str, float]]] = {"result": none, "stacked": stacked, "conditional": conditional}
