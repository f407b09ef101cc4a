"""Scores of the players themselves, by real samples that the training did not see."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from gandist.contract.components import Loss, Source
from gandist.contract.facts import Facts
from gandist.contract.scoring import Extractor, Metric


@dataclass(frozen=True, eq=False)
class Examined:
    """Whose answers are wanted.

    players: by name, in eval mode; the generator is the smoothed one. loss: what they were trained with. facts: of the
    data set.
    """

    players: Mapping[str, nn.Module]
    loss: Loss
    facts: Facts


class Examination(Metric):
    """A score of what the players say of held-out samples, the same on any number of ranks; it draws no samples.

    `answers` is asked batch by batch, each rank for its part; `grade` gets the answers to all samples in their order.
    """

    def space(self, features: Extractor) -> Extractor | None:
        """None: it works in no feature space."""
        return None

    def unfit(self, source: Source) -> str | None:
        """Why it cannot be computed on such data, to follow its name, or None."""
        return "needs held-out samples, this data set has none" if source.held_out() is None else None

    def unable(self, loss: Loss) -> str | None:
        """Why players that were trained with such a loss cannot answer ("needs a loss that …"), or None."""
        return None

    @abstractmethod
    def answers(self, rows: Mapping[str, Tensor], examined: Examined) -> dict[str, Tensor]:
        """What the grade needs of each sample, by name, (B, …), without gradient.

        rows: at most 250 held-out samples as `Source.read` gives them, on the device.
        """
        raise TypeError(f"{type(self).__name__} has no answers(rows, examined)")

    @abstractmethod
    def grade(self, answers: Mapping[str, Tensor]) -> dict[str, float]:
        """The scores by name, from the answers to all held-out samples (N, …), on the CPU."""
        raise TypeError(f"{type(self).__name__} has no grade(answers)")

    def picture(self, answers: Mapping[str, Tensor], facts: Facts) -> Tensor | None:
        """A picture of the answers for the watchers, uint8 (1 or 3, H, W), or None; drawn on rank 0."""
        return None
