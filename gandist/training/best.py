"""Which checkpoint is the best so far, and whether a better one is still waited for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gandist.config.evaluate import Best


@dataclass(frozen=True)
class BestSoFar:
    """The best score of a run, at which step it was reached, and how many evaluations have not been better since."""

    score: str
    value: float
    step: int
    waited: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for what no run of ours has written."""
        if type(self.step) is not int or type(self.waited) is not int or not isinstance(self.value, float):
            raise ValueError(f"the best so far is {str(self.value)[:40]} at step {str(self.step)[:40]}")

    def exhausted(self, wanted: Best | None) -> bool:
        """Whether the run has waited for something better for as long as it should."""
        return wanted is not None and wanted.score == self.score and 0 < wanted.patience <= self.waited


def judged(best: BestSoFar | None, wanted: Best, value: float, step: int) -> BestSoFar | None:
    """The best so far when `value` has been measured at `step`. What is not a number is never better."""
    if best is not None and best.score != wanted.score:
        best = None
    better = best is None or (value < best.value if wanted.mode == "min" else value > best.value)
    if better and not math.isnan(value):
        return BestSoFar(wanted.score, value, step)
    return None if best is None else BestSoFar(best.score, best.value, best.step, best.waited + 1)
