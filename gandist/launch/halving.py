"""Ray Tune's ASHA, with trials that leave by themselves when they are halted, with a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler


class Halving(ASHAScheduler):
    """Asynchronous successive halving (Li et al. 2020) over images.

    Tune would end a halted trial's process at once, and its workers with it. Here it is only written down in `halted`,
    by number; whoever made the scheduler asks the trial to save and leave.
    """

    def __init__(self, metric: str, mode: str, longest: int, grace: int, reduction: float):
        super().__init__(
            time_attr="images",
            metric=metric,
            mode=mode,
            max_t=max(longest, grace),
            grace_period=grace,
            reduction_factor=reduction,
        )
        self.halted: set[int] = set()

    def remember(self, metric: str, earlier: Iterable[tuple[int, str, float]]) -> None:
        """Fills the rungs with what an earlier command saw of trials that have ended: images, name, value."""
        known: dict[str, Any] = {}
        for images, name, value in sorted(earlier):
            if name not in known:
                known[name] = SimpleNamespace(trial_id=name)
                self.on_trial_add(None, known[name])  # type: ignore[arg-type]
            super().on_trial_result(None, known[name], {"images": images, metric: value})  # type: ignore[arg-type]

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """What ASHA decides, but for ending the trial's process."""
        if super().on_trial_result(tune_controller, trial, result) == TrialScheduler.STOP:
            self.halted.add(trial.config["trial"])
        return TrialScheduler.CONTINUE
