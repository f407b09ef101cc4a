"""The metrics of a config: what they are called, what they give, and whether the data suit them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from gandist.config.schema import Evaluate
from gandist.contract.components import Source
from gandist.contract.examining import Examination
from gandist.contract.exploring import Exploration
from gandist.contract.facts import Facts
from gandist.contract.scoring import Extractor, Metric
from gandist.errors import GandistError
from gandist.training.sampling import can_heed_labels


def scores(metrics: Iterable[Metric]) -> list[str]:
    """The names of the scores that these metrics give, without those of single classes."""
    return [score for metric in metrics for score in metric.all_scores()]


def examinations(section: Evaluate) -> list[Examination]:
    """Of the metrics of a config, those that ask the players about held-out samples."""
    return [metric for metric in section.metrics if isinstance(metric, Examination)]


def explorations(section: Evaluate) -> list[Exploration]:
    """Of the metrics of a config, those that ask the generator for samples of their own."""
    return [metric for metric in section.metrics if isinstance(metric, Exploration)]


def sampled(section: Evaluate) -> list[Metric]:
    """Of the metrics of a config, those that score the samples that are drawn for all."""
    return [metric for metric in section.metrics if not isinstance(metric, Examination | Exploration)]


def pointing(metrics: Iterable[Metric] | Iterable[type[Metric]]) -> list[str]:
    """The names of those that point at single samples."""
    kinds = [(metric if isinstance(metric, type) else type(metric)) for metric in metrics]
    return [kind.name for kind in kinds if kind.suspicion is not Metric.suspicion]


def spaces(section: Evaluate) -> list[Extractor]:
    """The feature spaces that the metrics of a config work in, each once."""
    found = [metric.space(section.features) for metric in section.metrics]
    return list(dict.fromkeys(space for space in found if space is not None))


def validate(section: Evaluate, source: Source, players: Mapping[str, nn.Module] | None = None) -> list[str]:
    """Why these metrics cannot be computed on such data, one line a problem; [] if they can.

    players: freshly built, on the CPU; with them, whether samples have the classes that metrics ask for.
    """
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
    generator = (players or {}).get("generator")
    if not problems and generator is not None and hasattr(generator, "draw"):
        labelled = heeds(section, generator, source.facts, torch.device("cpu"))
        problems = unclassed(section, source.facts, labelled) + unexplored(section, generator)
    return problems


def heeds(section: Evaluate, generator: nn.Module, facts: Facts, device: torch.device) -> bool:
    """Whether the generator is of a kind that heeds labels; not tried out where no metric wants to know."""
    asked = any("labels" in metric.gathers or metric.classes(facts) for metric in section.metrics)
    return asked and can_heed_labels(generator, facts, device)


def unexplored(section: Evaluate, generator: nn.Module) -> list[str]:
    """Which metrics cannot explore this generator, one line each."""
    found = [(one.name, one.unsuited(generator)) for one in explorations(section)]
    return [f"{name} {reason}" for name, reason in found if reason is not None]


def unclassed(section: Evaluate, facts: Facts, labelled: bool) -> list[str]:
    """Which metrics would not know the samples' classes, one line each. labelled: whether they come with labels."""
    problems = []
    for metric in section.metrics:
        wanted, space = metric.classes(facts), metric.space(section.features)
        if labelled or wanted is None or (wanted == "seen" and space is not None and space.own_classes):
            continue
        cure = "choose an architecture with conditioning" if wanted == "asked" else "use features: classifier"
        seen = f", and {space.name} does not know the data set's own" if wanted == "seen" and space is not None else ""
        problems.append(f"{metric.name} needs samples with classes, but nobody is asked for one here{seen}; {cure}")
    return problems


def _unfit(space: Extractor, source: Source) -> str | None:
    if (reason := space.unfit(source)) is not None:
        return reason
    # Two for each half.
    size = source.facts.size
    return f"needs at least 4 real samples, the data set has {size}" if size < 4 else None
