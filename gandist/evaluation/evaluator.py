"""Scores a generator, and examines the players, on all ranks at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gandist.config.schema import Config
from gandist.contract.collective import distributed
from gandist.contract.components import Source
from gandist.contract.examining import Examined
from gandist.contract.scoring import Scored
from gandist.errors import ConfigError, GandistError, RunError
from gandist.evaluation.examining import examine
from gandist.evaluation.exploring import explore
from gandist.evaluation.metrics import examinations, explorations, heeds, sampled, unclassed, unexplored, validate
from gandist.evaluation.preparing import Prepared, prepared
from gandist.evaluation.tallies import Tallies
from gandist.training.sampling import BLOCK, labels_of, samples
from gandist.training.shares import share
from gandist.training.waiting import on_rank_0


class Evaluator:
    """Computes `config.evaluate.metrics` over `config.evaluate.count` samples. All ranks make it and call it alike.

    Raises ConfigError for a metric that the data set cannot give.
    """

    def __init__(self, config: Config, source: Source, device: torch.device, points: bool = False):
        self.suspicion: dict[str, Tensor] = {}
        """With `points`, after a score: metric → how much it suspects each sample, (N,); see `Metric.suspicion`."""
        self._points = points
        self._section, self._loss = config.evaluate, config.loss
        asked = {one.name: one.unable(config.loss) for one in examinations(self._section)}
        problems = [f"{name} {reason}" for name, reason in asked.items() if reason is not None]
        if problems := problems + validate(self._section, source):
            raise ConfigError(f"evaluate.metrics: {'; '.join(problems)}")
        self._source, self._device = source, device
        self._prepared: Prepared | None = None
        self.pictures: dict[str, Tensor] = {}

    def prepare(self) -> Prepared:
        """Makes or reads networks and statistics on rank 0 and gives them to all. Raises on all ranks what fails there.

        Once; later calls return what the first has found.
        """
        if self._prepared is None:
            self._prepared = on_rank_0(self._on_one).on(self._device)
        return self._prepared

    def _on_one(self) -> Prepared:
        try:
            return prepared(self._section, self._source, self._device).on(torch.device("cpu"))
        except GandistError:
            raise
        except Exception as error:
            raise RunError(f"preparing the evaluation failed: {type(error).__name__}: {error}") from error

    def measure(self, players: Mapping[str, nn.Module], seed: int) -> dict[str, float]:
        """The scores by name, the same on all ranks and for any number of them.

        players: by name; the generator for metrics of samples, which are 0 to count-1 of `seed`, and whatever the
        examinations ask for. Each rank scores a run of neighbouring blocks. Raises ConfigError for metrics of classes
        that neither the generator nor the feature space knows.
        """
        found: dict[str, dict[str, float]] = {}
        if sampled(self._section):
            labelled = heeds(self._section, players["generator"], self._source.facts, self._device)
            self._require_classes(labelled)
            found |= self._score(self._made(players["generator"], seed, labelled))
        if explorations(self._section):
            found |= self._explored(players["generator"], seed)
        if wanted := examinations(self._section):
            held = self._source.held_out()
            assert held is not None, "validate has asked"
            examined = Examined(players, self._loss, self._source.facts)
            graded, self.pictures = examine(wanted, examined, held, self._device)
            found |= graded
        return self._in_order(found)

    def _explored(self, generator: nn.Module, seed: int) -> dict[str, dict[str, float]]:
        wanted, ready = explorations(self._section), self.prepare()
        if problems := unexplored(self._section, generator):
            raise ConfigError(f"evaluate.metrics: {'; '.join(problems)}")
        networks = {one.name: ready.networks[one.space(self._section.features)] for one in wanted}
        start, stop = self._share()
        rows = {"start": start, "stop": stop, "count": self._section.count}
        return explore(wanted, generator, networks, self._source.facts, seed=seed, **rows, device=self._device)

    def _share(self) -> tuple[int, int]:
        """The samples start ≤ i < stop that this rank scores."""
        rank, world = (dist.get_rank(), dist.get_world_size()) if distributed() else (0, 1)
        count = self._section.count
        # Whole blocks: the same batches, hence the same bits, on whatever rank they are made.
        blocks = share(-(-count // BLOCK), rank, world).span
        return min(count, blocks.start * BLOCK), min(count, blocks.stop * BLOCK)

    def _require_classes(self, labelled: bool) -> None:
        if problems := unclassed(self._section, self._source.facts, labelled):
            raise ConfigError(f"evaluate.metrics: {'; '.join(problems)}")

    def _made(self, generator: nn.Module, seed: int, labelled: bool) -> Iterator[Scored]:
        """The samples of this rank, with the labels that were asked for if the generator heeds them."""
        facts = self._source.facts
        start, stop = self._share()
        for batch in samples(generator, facts, seed=seed, start=start, stop=stop, device=self._device):
            labels = labels_of(seed, start, start + len(batch), facts.classes, self._device) if labelled else None
            yield Scored(batch, labels=labels)
            start += len(batch)

    def score(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """The scores of these samples, uint8 (B, C, H, W) or points (B, D), over all ranks together.

        Raises ConfigError for metrics of classes that the feature space does not know, or of a generator's latents.
        """
        self._require_classes(labelled=False)
        if wanted := explorations(self._section):
            raise ConfigError(f"evaluate.metrics: {wanted[0].name} looks at a generator's latents, not at pictures")
        return self._in_order(self._score(Scored(batch) for batch in batches))

    def _score(self, batches: Iterable[Scored]) -> dict[str, dict[str, float]]:
        ready = self.prepare()
        tallies = Tallies(ready.measures, ready.networks, ready.real, self._source.facts, self._device)
        for batch in batches:
            tallies.add(batch)
        scores = tallies.scores(shared=True)
        if self._points:
            self.suspicion = tallies.suspicion()
        return scores

    def _in_order(self, found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """The scores in the order of the metrics in the config, each with what real samples get beside it."""
        floors = self.prepare().floors
        scores: dict[str, float] = {}
        for metric in self._section.metrics:
            beside = floors.get(metric.name, {})
            for name, value in found.get(metric.name, {}).items():
                scores[name] = value
                if name in beside:
                    scores[f"{name}_real"] = beside[name]
        return scores

    def protocol(self) -> dict[str, Any]:
        """How the scores were made, for whoever compares them."""
        about: dict[str, Any] = {"count": self._section.count, **(self._prepared.about if self._prepared else {})}
        for one in explorations(self._section):
            space = one.space(self._section.features)
            named = {"features": space.name} if space is not None else {}
            settings = {name: value for name, value in one.model_dump(mode="json").items() if name != "name"}
            about["metrics"] = {**about.get("metrics", {}), one.name: {**named, **settings}}
        if wanted := examinations(self._section):
            held = self._source.held_out()
            settings = {one.name: one.model_dump(mode="json") for one in wanted}
            about["held_out"] = {"count": len(held) if held else 0, "metrics": settings}
        return about
