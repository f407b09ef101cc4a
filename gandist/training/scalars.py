"""Scalars of the steps since the last log line: kept on the device, reduced over ranks with one all-reduce."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from gandist.contract.collective import distributed
from gandist.contract.noise import key
from gandist.errors import NotFiniteError, RunError


class Scalars:
    """Means over turns, and the first step at which a term was not finite.

    A turn costs one small stack of its terms; nothing waits for the device before `reduce`.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._rows: dict[tuple[str, tuple[str, ...]], list[Tensor]] = {}
        self._turns: dict[tuple[str, tuple[str, ...]], list[tuple[int, int]]] = {}
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._bad: list[tuple[tuple[int, int], str, str]] = []

    def add(self, role: str, turn: tuple[int, int], terms: dict[str, Tensor], share: float) -> None:
        """Terms of one part of a turn (step, number): means over its rows, which are `share` of the global batch."""
        group = (role, tuple(terms))
        row = torch.stack([value.detach().float() for value in terms.values()]).mul_(share)
        if len(self._rows.get(group, ())) >= 256 and self._turns[group][-1] != turn:
            # Between two turns only: the parts of one count as one.
            self._fold(group)
        self._rows.setdefault(group, []).append(row)
        self._turns.setdefault(group, []).append(turn)

    def _fold(self, group: tuple[str, tuple[str, ...]]) -> None:
        role, names = group
        rows, turns = torch.stack(self._rows.pop(group)), self._turns.pop(group)
        for column, name in enumerate(names):
            total = f"{role}/{name}"
            values = rows[:, column]
            self._sums[total] = self._sums.get(total, torch.zeros((), device=self._device)) + values.sum()
            self._counts[total] = self._counts.get(total, 0) + len(set(turns))
            if not torch.isfinite(values).all():
                first = int((~torch.isfinite(values)).nonzero()[0, 0])
                self._bad.append((turns[first], role, name))

    def reduce(self) -> dict[str, float]:
        """Means over the global batch and the turns that had the term, by "role/name". All ranks must call it.

        Raises NotFiniteError on every rank if any value on any rank was NaN or infinite, naming step, player and term.
        """
        for group in list(self._rows):
            self._fold(group)
        names = sorted(self._sums)
        sums, counts = self._sums, self._counts
        self._sums, self._counts = {}, {}
        if not names:
            return {}
        vector = torch.stack([sums[name] for name in names]).double()
        if distributed():
            self._require_same(names)
            dist.all_reduce(vector)
        values = vector.tolist()
        if not all(map(_finite, values)):
            raise self._first_bad()
        return {name: value / counts[name] for name, value in zip(names, values, strict=True)}

    def _require_same(self, names: list[str]) -> None:
        # Sums of different lengths would not fail but abort the process.
        mine = torch.tensor([key(*names), -key(*names)], device=self._device)
        dist.all_reduce(mine, dist.ReduceOp.MAX)
        if mine.sum().item():
            raise RunError(
                f"the ranks returned different terms, this one {', '.join(names)}; what a loss or regularizer returns "
                f"must not depend on the rank or on the values of its rows"
            )

    def check(self) -> None:
        """Raises the same error as `reduce` and forgets nothing: before a checkpoint between two log lines."""
        for group in list(self._rows):
            self._fold(group)
        bad = torch.tensor([float(bool(self._bad))], device=self._device)
        if distributed():
            dist.all_reduce(bad)
        if bad.item():
            raise self._first_bad()

    def _first_bad(self) -> NotFiniteError:
        # Only a failing run comes here, and all ranks do, since a sum over ranks that is not finite is so on each.
        found: list[list[tuple[tuple[int, int], str, str]]] = [self._bad]
        if distributed():
            found = [[] for _ in range(dist.get_world_size())]
            dist.all_gather_object(found, self._bad)
        everything = [(turn, role, name, rank) for rank, bad in enumerate(found) for turn, role, name in bad]
        if not everything:
            return NotFiniteError("a sum of logged terms overflowed, although each was finite")
        # Of one turn's values the gradient comes last, and is that of all ranks: a term says where it began.
        (step, _), role, name, rank = min(everything, key=lambda one: (one[0], one[2] == "gradient_norm"))
        text = (
            f"not a finite number: '{name}' in the {role}'s turn of step {step} (first seen on rank {rank}); a lower "
            f"learning rate, a gradient penalty, or fp32 instead of bf16 are the usual cures"
        )
        return NotFiniteError(text, step)


def _finite(value: float) -> bool:
    return value - value == 0
