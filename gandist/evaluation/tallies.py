"""What is counted and collected of samples while they pass, on one rank, and brought together from all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gandist.contract.collective import all_rows, distributed
from gandist.contract.comparing import Compared, here
from gandist.contract.facts import Facts
from gandist.contract.scoring import Extractor, Metric, Scored
from gandist.evaluation.reference import extracted, joined
from gandist.training.waiting import on_rank_0

ROWS = ("features", "logits", "labels")


@dataclass(frozen=True, eq=False)
class Measure:
    """A metric, ready to measure. space: where it works. known: its statistics, on the device."""

    metric: Metric
    space: Extractor | None
    known: Mapping[str, Tensor]

    @property
    def collects(self) -> bool:
        """Whether it wants all samples at once."""
        return bool(self.metric.gathers)


class Tallies:
    """The sums and rows of the samples that were `added`.

    networks: by feature space, None for metrics that need none. real: the reference half in each, where a metric
    collects there; on the device.
    """

    def __init__(
        self,
        measures: Sequence[Measure],
        networks: Mapping[Extractor | None, nn.Module | None],
        real: Mapping[Extractor | None, Scored],
        facts: Facts,
        device: torch.device,
    ):
        self._measures, self._networks, self._real = measures, networks, real
        self._facts, self._device = facts, device
        self._sums: dict[int, Tensor] = {}
        self._rows: dict[Extractor | None, list[Scored]] = {}
        self._beside: dict[Extractor | None, Compared] = {}
        self._count = 0

    @torch.no_grad()
    def add(self, batch: Scored) -> None:
        """Counts a batch."""
        assert batch.samples is not None
        self._count += len(batch.samples)
        seen: dict[Extractor | None, Scored] = {}
        for number, one in enumerate(self._measures):
            if one.space not in seen:
                seen[one.space] = extracted(self._networks[one.space], batch, self._device)
            if not one.collects:
                more = one.metric.sums(seen[one.space], one.known)
                self._sums[number] = self._sums[number] + more if number in self._sums else more
        for space, scored in seen.items():
            if wanted := self._wanted(space):
                kept = {name: getattr(scored, name) for name in wanted}
                self._rows.setdefault(space, []).append(Scored(**kept))

    def _wanted(self, space: Extractor | None) -> set[str]:
        return {name for one in self._measures if one.space == space for name in one.metric.gathers}

    @torch.no_grad()
    def scores(self, shared: bool) -> dict[str, dict[str, float]]:
        """Metric → its scores by name. shared: over all ranks together, which must all call it."""
        shared = shared and distributed()
        start, count = self._place() if shared else (0, self._count)
        sums, rows = self._summed(shared), self._gathered(shared, start, count)
        beside, found = self._beside, {}
        for number, one in enumerate(self._measures):
            if one.collects:
                if one.space not in beside:
                    sides, on_one = (rows[one.space], self._real[one.space]), on_rank_0 if shared else here
                    beside[one.space] = Compared(*sides, {}, self._facts, shared, on_one)
                found[one.metric.name] = one.metric.compare(beside[one.space].of(one.known))
            else:
                known = {name: tensor.cpu() for name, tensor in one.known.items()}
                found[one.metric.name] = one.metric.result(sums[number].cpu(), count, known)
        return found

    @torch.no_grad()
    def suspicion(self) -> dict[str, Tensor]:
        """Metric → how much it suspects each sample, on the CPU, after `scores`; of those that point at single ones."""
        asked = [one for one in self._measures if one.collects]
        found = {one.metric.name: one.metric.suspicion(self._beside[one.space].of(one.known)) for one in asked}
        return {name: rows.cpu() for name, rows in found.items() if rows is not None}

    def _place(self) -> tuple[int, int]:
        """How many samples the ranks before this one have, and all together."""
        counts = torch.zeros(dist.get_world_size(), dtype=torch.int64, device=self._device)
        counts[dist.get_rank()] = self._count
        dist.all_reduce(counts)
        return int(counts[: dist.get_rank()].sum()), int(counts.sum())

    def _summed(self, shared: bool) -> dict[int, Tensor]:
        own_widths = {number: len(sums) for number, sums in self._sums.items()}
        # Rank 0 has samples if anybody has: its share is the largest.
        widths = on_rank_0(lambda: own_widths) if shared else own_widths
        if not widths:
            return {}
        own = [self._sums.get(number, torch.zeros(width, device=self._device)) for number, width in widths.items()]
        total = torch.cat([sums.double() for sums in own])
        if shared:
            dist.all_reduce(total)
        return dict(zip(widths, total.split(list(widths.values())), strict=True))

    def _gathered(self, shared: bool, start: int, total: int) -> dict[Extractor | None, Scored]:
        """The rows of all ranks, in the order of the ranks. start: of this rank's among the total."""
        own = {space: joined(parts) for space, parts in self._rows.items()}
        if not shared:
            return own
        like = {
            space: {name: (t.shape[1:], t.dtype) for name in ROWS if (t := getattr(rows, name)) is not None}
            for space, rows in own.items()
        }

        def everyone(space: Extractor | None, name: str, shape: torch.Size, dtype: torch.dtype) -> Tensor:
            rows = getattr(own[space], name) if space in own else torch.zeros(0, *shape, dtype=dtype)
            return all_rows(rows.to(self._device), start, total)

        return {
            space: Scored(**{name: everyone(space, name, *one) for name, one in rows.items()})
            for space, rows in on_rank_0(lambda: like).items()
        }
