"""Scores of a trained run, of another beside it, or of anybody's images."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from gandist.config.problems import from_pydantic, report
from gandist.config.schema import Evaluate
from gandist.errors import ConfigError
from gandist.evaluation.evaluator import Evaluator
from gandist.evaluation.metrics import examinations
from gandist.training.sampling import BLOCK
from gandist.using.folders import Pictures
from gandist.using.interpreting.suspects import require_pointing, write_suspects
from gandist.using.load import load
from gandist.using.trained import Trained

Named = str | dict[str, Any]
"""A component by its name, or with fields: {"name": …}."""


def evaluate(
    run: str | Path,
    *,
    metrics: Sequence[Named] | None = None,
    features: Named | None = None,
    weights: str | Path | None = None,
    count: int | None = None,
    against: str | Path | None = None,
    images: str | Path | None = None,
    pictures: str | Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The scores by name, and under `protocol` how they were made; what is not given is as in the run's config.

    weights: file for the feature space, and the metrics, that take one. against: another run, whose scores by the same
    reference stand under `against`. images: a folder of images, or an .npz, that is scored instead of the run's
    samples. pictures: a folder for sheets of the samples that a metric suspects, beside their nearest training images.
    Raises ConfigError for what cannot be scored.
    """
    if count is not None and count < 2:
        raise ConfigError(f"scores need at least 2 samples, not {count}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trained = load(run, device)
    given_images = Pictures(Path(images), trained.facts) if images is not None else None
    wanted = {
        "metrics": list(metrics) if metrics is not None else None,
        "features": features,
        "count": len(given_images) if given_images else count,
    }
    given = {key: value for key, value in wanted.items() if value is not None}
    section = _section(trained.config.evaluate.model_dump(mode="json") | given)
    if weights is not None:
        section = _weighted(section, str(weights))
    config = trained.config.model_copy(update={"evaluate": section})
    source = config.dataset.open()
    for stream in source.streams().values():
        stream.prepare(lambda text: print(f"fetching the data, {text}", file=sys.stderr))
    if pictures is not None:
        require_pointing(section, source, Path(pictures))
    evaluator = Evaluator(config, source, device, points=pictures is not None)
    other = load(against, device) if against is not None else None
    if other is not None and other.facts.shape != trained.facts.shape:
        raise ConfigError(f"{against}: makes samples of shape {other.facts.shape}, {run} of {trained.facts.shape}")
    if given_images:
        scores = evaluator.score(given_images)
    else:
        scores = evaluator.measure(_examined(trained, section), seed)
    result: dict[str, Any] = {**scores, "protocol": {**evaluator.protocol(), "seed": seed, "step": trained.step}}
    if pictures is not None:
        made = given_images.image if given_images else _sample_of(trained, section.count, seed)
        title = f"{images}" if images is not None else f"{trained.config.run.name}, step {trained.step:,}"
        result["pictures"] = write_suspects(evaluator, section, source, made, Path(pictures), title)
    if other is not None:
        result["against"] = {
            "run": str(against),
            "step": other.step,
            **evaluator.measure(_examined(other, section), seed),
        }
    return result


def _examined(trained: Trained, section: Evaluate) -> dict[str, nn.Module]:
    """The players that the metrics need: all are in a checkpoint only, the generator stays when none is left."""
    return trained.players if examinations(section) else {"generator": trained.generator}


def _sample_of(trained: Trained, count: int, seed: int) -> Callable[[int], Tensor]:
    """Sample i of those that were scored; with its whole block, since noise inside a network goes by rows."""

    def made(index: int) -> Tensor:
        start = index // BLOCK * BLOCK
        return trained.sample(min(BLOCK, count - start), seed, start=start)[index - start]

    return made


def _section(data: dict[str, Any]) -> Evaluate:
    """The section of a config that `data` describes. Raises ConfigError that lists what is wrong with it."""
    try:
        return Evaluate.model_validate(data)
    except ValidationError as error:
        raise ConfigError(report("gandist evaluate", from_pydantic(error, data, Evaluate))) from None


def _weighted(section: Evaluate, weights: str) -> Evaluate:
    """The section with this file for all that take weights. Raises ConfigError if nothing does."""
    data = section.model_dump(mode="json")

    def set_in(component: Any, dumped: Any) -> Any:
        taken.append("weights" in type(component).model_fields)
        return {**dumped, "weights": weights} if taken[-1] else dumped

    taken: list[bool] = []
    data["features"] = set_in(section.features, data["features"])
    data["metrics"] = [set_in(*pair) for pair in zip(section.metrics, data["metrics"], strict=True)]
    if not any(taken):
        raise ConfigError(
            f"--weights {weights}: nothing here takes weights; ask for --features inception-v3-tf or --metrics fid"
        )
    return _section(data)
