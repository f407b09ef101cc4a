"""Metrics as the few lines that a person reads at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from gandist.contract.discovery import installed
from gandist.contract.scoring import Metric


def lines(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """(what, figure) for each group of metrics, the figure of real data beside it where there is one."""
    left, found = dict(metrics), []
    known = cast(list[type[Metric]], installed().components(Metric))
    owners = {score: metric for metric in known for score in metric.all_scores()}
    for name in metrics:
        if name in left and name in owners:
            found += owners[name].told(left)
    return found + [(name, f"{value:.4g}") for name, value in left.items()]
