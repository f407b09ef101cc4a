"""The metrics of a config: what they are called, what they give, and whether the data suit them."""

from __future__ import annotations

from collections.abc import Iterable

from gandist.config.schema import Evaluate
from gandist.contract.components import Source
from gandist.contract.examining import Examination
from gandist.contract.scoring import Extractor, Metric
from gandist.errors import GandistError


def scores(metrics: Iterable[Metric]) -> list[str]:
    """The names of the scores that these metrics give, without those of single classes."""
    return [score for metric in metrics for score in metric.all_scores()]


def examinations(section: Evaluate) -> list[Examination]:
    """Of the metrics of a config, those that ask the players about held-out samples."""
    return [metric for metric in section.metrics if isinstance(metric, Examination)]


def sampled(section: Evaluate) -> list[Metric]:
    """Of the metrics of a config, those that score generated samples."""
    return [metric for metric in section.metrics if not isinstance(metric, Examination)]


def spaces(section: Evaluate) -> list[Extractor]:
    """The feature spaces that the metrics of a config work in, each once."""
    found = [metric.space(section.features) for metric in section.metrics]
    return list(dict.fromkeys(space for space in found if space is not None))


def validate(section: Evaluate, source: Source) -> list[str]:
    """Why these metrics cannot be computed on such data, one line a problem; [] if they can."""
    problems, given = [], set()
    for metric in section.metrics:
        try:
            space = metric.space(section.features)
            reason = metric.unfit(source) or (_unfit(space, source) if space is not None else None)
        except GandistError as error:
            reason = f"cannot be used: {error}"
        if reason is not None:
            problems.append(f"{metric.name} {reason}")
        elif twice := given & set(metric.all_scores()):
            problems.append(f"{metric.name} gives {sorted(twice)[0]}, which another metric of the list gives; drop one")
        given |= set(metric.all_scores())
    return problems


def _unfit(space: Extractor, source: Source) -> str | None:
    if (reason := space.unfit(source)) is not None:
        return reason
    # Two for each half.
    size = source.facts.size
    return f"needs at least 4 real samples, the data set has {size}" if size < 4 else None
