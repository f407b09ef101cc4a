"""Scores of the generator by samples that a metric asks for itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from gandist.contract.facts import Facts
from gandist.contract.noise import Noise
from gandist.contract.scoring import Metric


@dataclass(frozen=True, eq=False)
class Explored:
    """A generator, for the rows of one block.

    generator: the smoothed one, in eval mode. labels: int64 (B,), those that samples of these indices are asked for, or
    None. noise: a stream of random rows by its name, which belong to the samples' indices. features: samples as the
    generator returns them to features (B, D) of the metric's space; they are not rounded to bytes on the way, so that
    small differences remain. still: what a call returns, the noise inside the networks the same at each call.
    """

    generator: nn.Module
    labels: Tensor | None
    facts: Facts
    noise: Callable[[str], Noise]
    features: Callable[[Tensor], Tensor]
    still: Callable[[Callable[[], Tensor]], Tensor]


class Exploration(Metric):
    """A score of what the generator makes of latents that the metric chooses, the same on any number of ranks.

    `answers` is asked block by block, each rank for its part of `evaluate.count` rows; `grade` gets the answers of all
    in the order of their indices. It has no floors: real samples have no latents.
    """

    def unsuited(self, generator: nn.Module) -> str | None:
        """Why it cannot explore such a generator, to follow its name ("needs a generator that …"), or None."""
        return None

    @abstractmethod
    def answers(self, explored: Explored) -> dict[str, Tensor]:
        """What the grade needs of each row, by name, (B, …), without gradient; at most 64 rows."""
        raise TypeError(f"{type(self).__name__} has no answers(explored)")

    @abstractmethod
    def grade(self, answers: Mapping[str, Tensor]) -> dict[str, float]:
        """The scores by name, from the answers of all rows (N, …), on the CPU."""
        raise TypeError(f"{type(self).__name__} has no grade(answers)")
