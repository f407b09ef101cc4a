"""All samples of all ranks beside real ones, and the work of comparing them shared over the ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from gandist.contract.collective import all_rows, distributed
from gandist.contract.facts import Facts
from gandist.contract.scoring import Scored

BLOCK = 512
"""Rows whose distances to all others are in memory at once."""

LISTED = 8
"""Nearest neighbours that are kept of each row."""

Side = Literal["fake", "real"]
T = TypeVar("T")


def here(work: Callable[[], Any]) -> Any:
    """What the work returns, done by whoever asks."""
    return work()


def squared_distances(rows: Tensor, others: Tensor) -> Tensor:
    """Squared Euclidean distances (R, O) between (R, D) and (O, D), never negative."""
    product = rows @ others.T
    square = rows.square().sum(1)[:, None] + others.square().sum(1)
    return square.sub_(product, alpha=2).clamp_(min=0)


@dataclass(frozen=True, eq=False)
class Compared:
    """What a metric that gathers is given.

    fake: the samples' rows in their order. real: the reference half's. known: the metric's statistics. All on the
    device, equal on all ranks. shared: whether all ranks take part; False where one of them works alone. on_one: how
    `once` has one rank work while the others wait.
    """

    fake: Scored
    real: Scored
    known: Mapping[str, Tensor]
    facts: Facts
    shared: bool
    on_one: Callable[[Callable[[], Any]], Any] = here
    _kept: dict[tuple[object, ...], Tensor] = field(default_factory=dict)

    def of(self, other: Mapping[str, Tensor]) -> Compared:
        """The same with the statistics of another metric; what was computed for one is kept for all."""
        return replace(self, known=other)

    def kept(self, key: tuple[object, ...], make: Callable[[], Tensor]) -> Tensor:
        """What `make` returns, made at the first time that it is asked for under this key, for whatever metric."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def once(self, work: Callable[[], T]) -> T:
        """What `work()` returns on one rank, given to all: for what cannot be shared, such as training a network.

        All ranks must call it, and wait as long as it takes; what it raises is raised on all.
        """
        return self.on_one(work)

    def by_block(self, rows: int, work: Callable[[slice], Tensor]) -> Tensor:
        """`work(block)` for all blocks of at most 512 of `rows` rows, one after the other: (rows, …) on all ranks.

        The blocks are shared over the ranks. They are the same whatever the number of ranks, hence the results are, to
        the last bit. All ranks must call it.
        """
        rank, world = (dist.get_rank(), dist.get_world_size()) if self.shared and distributed() else (0, 1)
        blocks = -(-rows // BLOCK)
        if blocks < world:
            rank, world = 0, 1
        first, last = blocks * rank // world, blocks * (rank + 1) // world
        bounds = [(block * BLOCK, min(rows, (block + 1) * BLOCK)) for block in range(first, last)]
        own = torch.cat([work(slice(*bound)) for bound in bounds])
        return own if world == 1 else all_rows(own, first * BLOCK, rows)

    def points(self, side: Side) -> Tensor:
        """Features float32 (N, D), shifted so that the reference's mean is 0: what distances lose to rounding grows
        with the distance from there."""

        def shifted() -> Tensor:
            rows, real = getattr(self, side).features, self.real.features
            assert rows is not None
            assert real is not None
            return rows.float() - real.mean(0, dtype=torch.float64).float()

        return self.kept(("points", side), shifted)

    def radii(self, side: Side, neighbours: int) -> Tensor:
        """Squared distance of each row to its `neighbours`-th nearest on the same side, itself left out: (N,)."""
        points = self.points(side)
        # Metrics ask for different numbers of neighbours of the same points.
        listed = min(max(neighbours, LISTED), len(points) - 1)

        def work(block: slice) -> Tensor:
            distances = squared_distances(points[block], points)
            own = torch.arange(block.start, block.stop, device=points.device)
            distances[own - block.start, own] = torch.inf
            return distances.topk(listed, largest=False).values

        found = self.kept(("nearest", side, listed), lambda: self.by_block(len(points), work))
        return found[:, min(neighbours, listed) - 1]

    def across(self, side: Side, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        """`reduce(distances)` of the squared distances (B, others) of each block of one side to all of the other."""
        rows, others = self.points(side), self.points("real" if side == "fake" else "fake")
        return self.by_block(len(rows), lambda block: reduce(squared_distances(rows[block], others)))


def nearest(rows: Tensor, others: Tensor, without: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Distance, float64, and index of the nearest of `others` (O, D) for each of at most 512 rows (R, D).

    without: one index a row that does not count, (R,), itself. The distance to the one that is found is computed anew
    from the difference, so that it is 0 for a copy.
    """
    distances = squared_distances(rows, others)
    if without is not None:
        distances[torch.arange(len(rows), device=rows.device), without] = torch.inf
    index = distances.argmin(1)
    return (rows.double() - others[index].double()).square().sum(1).sqrt(), index
