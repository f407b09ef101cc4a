"""What the discriminator says of training samples, of real ones that it never saw, and of the generator's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gandist.contract.components import Source
from gandist.contract.turn import Verdict
from gandist.errors import ConfigError, RunError
from gandist.training.players import divisor
from gandist.training.sampling import BLOCK, draw
from gandist.using.interpreting.charts import BLUE, GREEN, RED, Series, histogram
from gandist.using.interpreting.real import drawn, training_data, unseen_data
from gandist.using.interpreting.sheets import require_ending, write
from gandist.using.interpreting.spaces import still
from gandist.using.trained import Trained

COUNT = 2000
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_OUTSIDE = 0.001
"""Share of all logits that may lie beyond each end of the chart; they are counted in its outermost bars."""
TRAIN, UNSEEN, FAKE = "real, trained on", "real, held out", "fake"
_COLOURS = {TRAIN: BLUE, UNSEEN: GREEN, FAKE: RED}


def write_scores(
    trained: Trained, out: Path, count: int = COUNT, seed: int = 0, label: int | None = None, bins: int = 48
) -> dict[str, Any]:
    """Draws a histogram of the logits of up to `count` samples of each kind and returns what they are in numbers.

    The discriminator is in eval mode, the samples are the smoothed generator's and not augmented. label: of this class
    only. Raises ConfigError if no checkpoint holds the discriminator, or for a label that is not there.
    """
    require_ending(out, (".png",), "a histogram of scores")
    if count < 1 or bins < 2:
        raise ConfigError(f"a histogram has at least 1 sample and 2 bins, not {count} and {bins}")
    if label is not None:
        trained.require_label(label)
    critic = trained.discriminator
    source, warning = training_data(trained)
    unseen, about = unseen_data(trained)
    logits = {TRAIN: real_logits(trained, critic, source, count, seed, label)}
    if unseen is not None:
        logits[UNSEEN] = real_logits(trained, critic, unseen, count, seed, label)
    logits[FAKE] = fake_logits(trained, critic, count, seed, label)
    for name, values in logits.items():
        if not len(values):
            raise ConfigError(f"{trained.path}: there are no samples to judge that are {name}; give a larger --count")
        if not bool(values.isfinite().all()):
            raise RunError(f"{trained.path}: the discriminator's logits of samples that are {name} are not finite")
    edges = _edges(torch.cat(list(logits.values())), bins)
    shares = {name: _shares(values, edges) for name, values in logits.items()}
    series = [Series(f"{name} ({len(logits[name]):,})", _COLOURS[name], share) for name, share in shares.items()]
    title = f"{trained.config.run.name}, step {trained.step:,}: what the discriminator says"
    note = "" if unseen is not None else f"no held-out samples: {about}"
    write([histogram(series, edges.tolist(), "logit: higher is more real", "share of samples", title, note)], out)
    return {
        "path": str(out),
        "step": trained.step,
        "seed": seed,
        "label": label,
        "held_out": about,
        **({"warning": warning} if warning else {}),
        "logits": {name: _numbers(values) for name, values in logits.items()},
        "ranked_above": _ranked(logits),
        "histogram": {"edges": edges.tolist(), **{name: share.tolist() for name, share in shares.items()}},
    }


def _judged(critic: nn.Module, batches: Iterator[tuple[Tensor, Tensor | None]]) -> Tensor:
    """Logits float64 (N,) on the CPU. Rows wait until there are as many as the discriminator takes together."""
    step = divisor({"discriminator": critic})
    batch = max(step, BLOCK // step * step)
    found: list[Tensor] = []
    rows: list[Tensor] = []
    labels: list[Tensor] = []

    def judge(n: int) -> None:
        samples, told = torch.cat(rows), torch.cat(labels) if labels else None
        rows[:], labels[:] = [samples[n:]], [] if told is None else [told[n:]]
        answer = critic(samples[:n], None if told is None else told[:n])
        found.append((answer.logits if isinstance(answer, Verdict) else answer).double().cpu())

    for samples, told in batches:
        rows.append(samples)
        if told is not None:
            labels.append(told)
        while sum(map(len, rows)) >= batch:
            judge(batch)
    if (rest := sum(map(len, rows)) // step * step) > 0:
        judge(rest)
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)


@torch.no_grad()
def real_logits(
    trained: Trained, critic: nn.Module, source: Source, count: int, seed: int, label: int | None = None
) -> Tensor:
    """What the discriminator says of up to `count` samples of a source, drawn by the seed: float64 (N,).

    N is a multiple of what the discriminator judges together.
    """

    def batches() -> Iterator[tuple[Tensor, Tensor | None]]:
        for read in drawn(source, count, seed, label):
            real, labels = read["real"].to(trained.device), read.get("labels")
            real = real.float().div_(127.5).sub_(1) if real.dtype == torch.uint8 else real.float()
            yield real, None if labels is None else labels.to(trained.device)

    return _judged(critic, batches())


@torch.no_grad()
def fake_logits(trained: Trained, critic: nn.Module, count: int, seed: int, label: int | None = None) -> Tensor:
    """What the discriminator says of samples 0 to count-1 of the seed, unrounded as the generator makes them."""

    def batches() -> Iterator[tuple[Tensor, Tensor | None]]:
        for start in range(0, count, BLOCK):
            stop = min(count, start + BLOCK)
            latents, labels = draw(trained.generator, seed, start, stop, trained.facts.classes, trained.device)
            if labels is not None and label is not None:
                labels = torch.full_like(labels, label)
            with still(trained.device):
                yield trained.generator(latents, labels).float(), labels

    return _judged(critic, batches())


def _edges(logits: Tensor, bins: int) -> Tensor:
    low, high = (float(logits.quantile(q)) for q in (_OUTSIDE, 1 - _OUTSIDE))
    if high - low < 1e-6 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    return torch.linspace(low, high, bins + 1, dtype=torch.float64)


def _shares(logits: Tensor, edges: Tensor) -> Tensor:
    """Share of the logits in each bin (bins,), those beyond the ends in the outermost."""
    place = torch.bucketize(logits, edges[1:-1])
    return torch.bincount(place, minlength=len(edges) - 1).double() / len(logits)


def _numbers(logits: Tensor) -> dict[str, Any]:
    quantiles = logits.quantile(torch.tensor(_QUANTILES, dtype=torch.float64)).tolist()
    return {
        "count": len(logits),
        "mean": float(logits.mean()),
        "deviation": float(logits.std(correction=0)),
        "above_0": float((logits > 0).double().mean()),
        "quantiles": {f"{q:g}": value for q, value in zip(_QUANTILES, quantiles, strict=True)},
    }


def ranked_above(first: Tensor, second: Tensor) -> float:
    """How often a value of the first is larger than one of the second, ties half: the area under the ROC curve."""
    ordered = second.sort().values
    below = torch.searchsorted(ordered, first) + torch.searchsorted(ordered, first, right=True)
    return float(below.double().mean() / (2 * len(second)))


def _ranked(logits: dict[str, Tensor]) -> dict[str, float]:
    pairs = [(TRAIN, FAKE), (UNSEEN, FAKE), (TRAIN, UNSEEN)]
    return {
        f"{first} above {second}": ranked_above(logits[first], logits[second])
        for first, second in pairs
        if first in logits and second in logits
    }
