"""Scores of a trained run, of another beside it, or of anybody's images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gandist.errors import ConfigError
from gandist.evaluation.evaluator import Evaluator
from gandist.using.folders import Pictures
from gandist.using.load import load


def evaluate(
    run: str | Path,
    *,
    metrics: Sequence[str] | None = None,
    features: str | None = None,
    count: int | None = None,
    against: str | Path | None = None,
    images: str | Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The scores by name, and under `protocol` how they were made; what is not given is as in the run's config.

    against: another run, whose scores by the same reference stand under `against`. images: a folder of images, or an
    .npz, that is scored instead of the run's samples. Raises ConfigError for what cannot be scored.
    """
    if features not in (None, "classifier"):
        raise ConfigError(f"features '{features}' are not there; there is: classifier")
    if count is not None and count < 2:
        raise ConfigError(f"scores need at least 2 samples, not {count}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trained = load(run, device)
    pictures = Pictures(Path(images), trained.facts) if images is not None else None
    wanted = {"metrics": tuple(metrics) if metrics is not None else None, "count": len(pictures) if pictures else count}
    section = trained.config.evaluate.model_copy(update={k: v for k, v in wanted.items() if v is not None})
    config = trained.config.model_copy(update={"evaluate": section})
    source = config.dataset.open()
    for stream in source.streams().values():
        stream.prepare(lambda text: print(f"fetching the data, {text}", file=sys.stderr))
    evaluator = Evaluator(config, source, device)
    other = load(against, device) if against is not None else None
    if other is not None and other.facts.shape != trained.facts.shape:
        raise ConfigError(f"{against}: makes samples of shape {other.facts.shape}, {run} of {trained.facts.shape}")
    scores = evaluator.score(pictures) if pictures else evaluator.measure(trained.generator, seed)
    result: dict[str, Any] = {**scores, "protocol": {**evaluator.protocol(), "seed": seed, "step": trained.step}}
    if other is not None:
        result["against"] = {"run": str(against), "step": other.step, **evaluator.measure(other.generator, seed)}
    return result
