"""The rules about what components ask of the batch and of the players."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from gandist.config.problems import Problem
from gandist.contract.component import Component
from gandist.contract.examining import Examination
from gandist.contract.noise import Noise
from gandist.contract.resting import at_rest
from gandist.errors import did_you_mean

if TYPE_CHECKING:
    from gandist.config.rules import Parts


def entries_are_there(parts: Parts) -> Iterator[Problem]:
    """The batch has what the loss and its regularizers read of it."""
    source, loss, data = parts.source, parts.config.loss, parts.config.dataset.name
    if source is None:
        return
    if "real" not in source.entries and not set(source.entries) & set(loss.entries):
        given = " and ".join(source.entries)
        yield Problem(
            "dataset",
            f"{loss.name} reads real, which {data} does not give: it gives {given}; choose another data set or loss",
        )
        return
    asking = [component for component in parts.methods if component.entries]
    if not asking:
        return
    there = {name for stream in source.streams().values() for name in stream.read([0])}
    for component in asking:
        missing = {name: fix for name, fix in component.entries.items() if name not in there}
        if missing and component.refuse(source.facts) is None:
            names, fixes = ", ".join(missing), ", and ".join(dict.fromkeys(missing.values()))
            yield Problem("dataset", f"{component.name} reads {names}, which {data} does not give: {fixes}")


def pairs_stay_together(parts: Parts) -> Iterator[Problem]:
    """Entries that belong together row by row come from one stream of the data set."""
    source, loss = parts.source, parts.config.loss
    if source is None or not loss.pairs or not set(loss.entries) <= set(source.entries):
        return
    if not any(set(loss.entries) <= set(stream.entries) for stream in source.streams().values()):
        yield Problem(
            "dataset",
            f"{loss.name} needs {' and '.join(loss.entries)} of the same sample, {parts.config.dataset.name} shuffles "
            "them apart; choose a data set of pairs, or a loss that needs none",
        )


def labels_are_not_missed(parts: Parts) -> Iterator[Problem]:
    """Players that cannot do without labels get some."""
    source, players = parts.source, parts.players or {}
    generator, discriminator = players.get("generator"), players.get("discriminator")
    if source is None or not source.facts.classes or not hasattr(generator, "draw"):
        return
    assert generator is not None
    seen = source.streams().get("", source)
    # A source that is its own stream gives the labels of which its facts speak: nothing need be read to know.
    if seen is source or "labels" in seen.read([0]):
        return
    count = 2 * parts.divisor
    noise = Noise(0, "check", start=0, stop=count, total=count, device=torch.device("cpu"), dtype=torch.float32)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), at_rest(players.values()):
            made = generator(generator.draw(noise, count), None)  # type: ignore[operator]
            if discriminator is not None:
                discriminator(made, None)
    # Whatever a network does with None for labels.
    except Exception:
        name = parts.config.architecture.name
        yield Problem(
            "architecture",
            f"{name} asks for labels, and training sees none of most samples; set architecture.conditioning: none, or "
            "leave dataset.labelled out",
        )


def smoothed_players_are_there(parts: Parts) -> Iterator[Problem]:
    """An average is kept of players that there are, and of those that components ask for."""
    ema, usual = parts.config.train.ema, type(parts.config.train.ema)().players
    for name in ema.players:
        if name not in parts.roles and name not in usual:
            yield Problem(
                "train.ema.players",
                f"{parts.config.loss.name} plays no {name}{did_you_mean(name, parts.roles)}; it plays "
                f"{', '.join(parts.roles)}",
            )
    for component in parts.methods:
        missing = [name for name in component.smooths if name not in ema.players or not ema.half_life]
        if missing:
            yield Problem("train.ema", _unsmoothed(component, missing, ema.players))


def examinations_can_be_answered(parts: Parts) -> Iterator[Problem]:
    """What is asked of the players in an evaluation, they have learnt to answer."""
    section = parts.config.evaluate
    for metric in section.metrics if section.every else ():
        reason = metric.unable(parts.config.loss) if isinstance(metric, Examination) else None
        if reason is not None:
            yield Problem("evaluate.metrics", f"{metric.name} {reason}")


def samples_can_be_scored(parts: Parts) -> Iterator[Problem]:
    """Metrics of samples have a generator that draws some."""
    section, generator = parts.config.evaluate, (parts.players or {}).get("generator")
    if not section.every or generator is None or hasattr(generator, "draw"):
        return
    for metric in section.metrics:
        if not isinstance(metric, Examination):
            yield Problem(
                "evaluate.metrics",
                f"{metric.name} scores samples, and the generator of {parts.config.architecture.name} draws none; ask "
                "for metrics of held-out samples (gandist plugins), or set evaluate.every to 0",
            )


def _unsmoothed(component: Component, missing: list[str], players: tuple[str, ...]) -> str:
    wanted = ", ".join(dict.fromkeys((*players, *missing)))
    return (
        f"{component.name} asks the smoothed {' and '.join(missing)}: set train.ema.players: [{wanted}], with a "
        "half_life above 0"
    )


DEMANDS = (
    entries_are_there,
    pairs_stay_together,
    labels_are_not_missed,
    smoothed_players_are_there,
    examinations_can_be_answered,
    samples_can_be_scored,
)
