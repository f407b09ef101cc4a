"""The rule between a loss and the entries of the batches that a data set gives."""

from __future__ import annotations

from collections.abc import Iterator

from gandist.config.problems import Problem
from gandist.contract.components import Loss, Source


def entries_are_there(loss: Loss, data: str, source: Source | None) -> Iterator[Problem]:
    """The loss finds what it reads in a batch, row by row together where it needs that. data: the data set's name."""
    if source is None:
        return
    wanted, streams = set(loss.entries or ("real",)), [set(one.entries) for one in source.streams().values()]
    given = set().union(*streams)
    if missing := sorted(wanted - given):
        yield Problem(
            "dataset",
            f"{loss.name} reads {_listed(missing)} in each batch, {data} gives {_listed(sorted(given))}; choose "
            f"another data set, or another loss",
        )
    elif loss.pairs and not any(wanted <= one for one in streams):
        yield Problem(
            "dataset",
            f"{loss.name} needs {_listed(sorted(wanted))} of the same sample, {data} shuffles them apart; choose a "
            f"data set of pairs, or a loss that needs none",
        )


def _listed(names: list[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)
