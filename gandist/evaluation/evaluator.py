"""Scores a generator on all ranks at once."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gandist.config.schema import Config
from gandist.contract.collective import distributed
from gandist.contract.components import Source
from gandist.errors import ConfigError, GandistError, RunError
from gandist.evaluation.metrics import METRICS, Metric, Scored, build, validate
from gandist.evaluation.reference import Reference, reference
from gandist.training.sampling import BLOCK, samples
from gandist.training.shares import share
from gandist.training.waiting import on_rank_0


class Evaluator:
    """Computes `config.evaluate.metrics` over `config.evaluate.count` samples. All ranks make it and call it alike.

    Raises ConfigError for a metric that is unknown or that the data set cannot give.
    """

    def __init__(self, config: Config, source: Source, device: torch.device):
        self._wanted, self._count = config.evaluate.metrics, config.evaluate.count
        if problems := validate(self._wanted, source.facts, source):
            raise ConfigError(f"evaluate.metrics: {'; '.join(problems)}")
        self._source, self._device = source, device
        self._metrics: list[Metric] | None = None
        self.reference: Reference | None = None
        """The classifier and real statistics, once prepared, if a metric needs them."""

    def prepare(self) -> None:
        """Trains or reads the classifier on rank 0 and gives it to all. Raises on all ranks what fails on rank 0."""
        if self._metrics is not None:
            return
        if any(METRICS[name] == "labels" for name in self._wanted):
            self.reference = on_rank_0(self._prepared)
            self.reference.classifier.to(self._device)
        self._metrics = [build(name, self._source, self.reference) for name in self._wanted]

    def _prepared(self) -> Reference:
        try:
            prepared = reference(self._source, self._count, self._device)
        except GandistError:
            raise
        except Exception as error:
            raise RunError(f"preparing the evaluation failed: {type(error).__name__}: {error}") from error
        prepared.classifier.cpu()
        return prepared

    def measure(self, generator: nn.Module, seed: int) -> dict[str, float]:
        """The scores of samples 0 to count-1 of `seed` by name, the same on all ranks and for any number of them.

        Each rank scores a run of neighbouring blocks of samples.
        """
        rank, world = (dist.get_rank(), dist.get_world_size()) if distributed() else (0, 1)
        # Whole blocks: the same batches, hence the same bits, on whatever rank they are made.
        blocks = share(-(-self._count // BLOCK), rank, world).span
        start, stop = (min(self._count, block * BLOCK) for block in (blocks.start, blocks.stop))
        facts = self._source.facts
        return self.score(samples(generator, facts, seed=seed, start=start, stop=stop, device=self._device))

    @torch.no_grad()
    def score(self, batches: Iterable[Tensor]) -> dict[str, float]:
        """The scores of these samples, uint8 (B, C, H, W) or points (B, D), over all ranks together."""
        self.prepare()
        assert self._metrics is not None
        widths = [metric.width for metric in self._metrics]
        total = torch.zeros(1 + sum(widths), dtype=torch.float64, device=self._device)
        for batch in batches:
            scored = self._scored(batch.to(self._device))
            total[0] += len(batch)
            total[1:] += torch.cat([metric.sums(scored) for metric in self._metrics])
        if distributed():
            dist.all_reduce(total)
        count, *sums = total.cpu().split([1, *widths])
        scores: dict[str, float] = {}
        for metric, part in zip(self._metrics, sums, strict=True):
            scores.update(metric.result(part, int(count)))
        return scores

    def _scored(self, batch: Tensor) -> Scored:
        return Scored(batch, *self.reference.classifier(batch)) if self.reference else Scored(batch)

    def protocol(self) -> dict[str, int | float | str]:
        """How the scores were made, for whoever compares them."""
        about: dict[str, int | float | str] = {"count": self._count}
        if self.reference:
            about |= {
                "features": "classifier",
                "classifier_accuracy": self.reference.accuracy,
                "reference_count": self.reference.size,
            }
        return about
