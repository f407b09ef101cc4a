"""Asks the players about held-out samples, each rank about its part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from gandist.contract.collective import all_rows, distributed
from gandist.contract.components import Source
from gandist.contract.examining import Examination, Examined
from gandist.contract.noise import key
from gandist.contract.resting import at_rest, seeded
from gandist.training.shares import share
from gandist.training.waiting import on_rank_0

BATCH = 250
"""Samples about which the players are asked at once, the same ones on any number of ranks."""


def examine(
    examinations: Sequence[Examination], examined: Examined, held: Source, device: torch.device
) -> tuple[dict[str, dict[str, float]], dict[str, Tensor]]:
    """Examination → its scores by name, the same on all ranks; and on rank 0 examination → its picture, if it has one.

    All ranks must call it. What the networks draw inside depends on the batch alone, and torch's random state stays as
    it was.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if distributed() else (0, 1)
    span = share(-(-len(held) // BATCH), rank, world).span
    start, stop = (min(len(held), number * BATCH) for number in (span.start, span.stop))
    given: dict[str, dict[str, list[Tensor]]] = {one.name: {} for one in examinations}
    with torch.no_grad(), at_rest(examined.players.values()):
        for first in range(start, stop, BATCH):
            indices = range(first, min(stop, first + BATCH))
            rows = {name: entry.to(device) for name, entry in held.read(list(indices)).items()}
            for one in examinations:
                with seeded(key(one.name, first), device):
                    for name, answer in one.answers(rows, examined).items():
                        given[one.name].setdefault(name, []).append(answer)
    own = {name: {part: torch.cat(rows) for part, rows in parts.items()} for name, parts in given.items()}
    answers = {one.name: of_all(own[one.name], start, len(held), device) for one in examinations}
    drawn = {one.name: one.picture(answers[one.name], examined.facts) for one in examinations if rank == 0}
    pictures = {name: picture for name, picture in drawn.items() if picture is not None}
    return {one.name: one.grade(answers[one.name]) for one in examinations}, pictures


def of_all(own: Mapping[str, Tensor], start: int, total: int, device: torch.device) -> dict[str, Tensor]:
    """The answers of all ranks, in the order of the samples, on the CPU."""
    if not distributed():
        return {name: rows.cpu() for name, rows in own.items()}
    # Rank 0 has some if anybody has: its share is the largest.
    like = on_rank_0(lambda: {name: (rows.shape[1:], rows.dtype) for name, rows in own.items()})

    def everyone(name: str, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        rows = own[name] if name in own else torch.zeros(0, *shape, dtype=dtype, device=device)
        # Not every backend adds booleans.
        return all_rows(rows.to(torch.uint8) if dtype == torch.bool else rows, start, total).to(dtype).cpu()

    return {name: everyone(name, *one) for name, one in like.items()}
