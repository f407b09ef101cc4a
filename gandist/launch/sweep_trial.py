"""One trial of a sweep, in a process of its own that Ray Tune starts: an ordinary run that tells how it does."""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gandist.config.compose import Composed
from gandist.config.trials import Trial
from gandist.errors import GandistError
from gandist.launch.resources import Place
from gandist.launch.run import STOPPED, Within, run

LOOK = 0.5
"""Seconds between two questions whether the trial should leave."""
WORST = 1e30
"""Stands for a metric that is no finite number: worse than any."""


@dataclass(frozen=True)
class Orders:
    """What all trials of a sweep are given. earlier: (images, value) that an earlier command saw, by trial."""

    trials: list[Trial]
    metric: str
    mode: str
    place: Place
    address: str | None
    cwd: str
    earlier: dict[str, list[tuple[int, float]]]

    def comparable(self, value: float) -> float:
        """The value, or the worst one."""
        return value if math.isfinite(value) else WORST if self.mode == "min" else -WORST


class Reporter:
    """Follows the trial's run: tells the sweep's board and Ray Tune, and asks whether to go on."""

    def __init__(self, trial: Trial, orders: Orders, board: Any):
        self._trial, self._orders, self._board = trial, orders, board
        self._asked, self.why = 0.0, ""

    def tell(self, what: str, **facts: Any) -> None:
        """Tells the board, and waits until it is there: the process may be gone a moment later."""
        import ray

        ray.get(self._board.tell.remote(self._trial.name, what, facts))

    def told(self, hook: str, facts: dict[str, Any]) -> None:
        """See Follower."""
        if hook == "warning":
            self.tell("warning", text=facts["text"])
        elif hook == "gandist_on_train_start" and facts["resumed_from"] is not None:
            self.tell("resumed", step=facts["resumed_from"])
        elif hook == "gandist_on_evaluation":
            self.evaluated(facts["step"], facts["metrics"])

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        """An evaluation: for the table, and for the scheduler, which may want the trial to leave."""
        images, value = step * self._trial.config.images_per_step, metrics[self._orders.metric]
        self.tell("evaluated", step=step, images=images, value=value, metrics=metrics)
        self.report(images, value)
        self._asked = 0.0

    def report(self, images: int, value: float) -> None:
        """Hands one value to Ray Tune and waits until it has taken it."""
        from ray import tune

        tune.report({"images": images, self._orders.metric: self._orders.comparable(value)})

    def wants_stop(self) -> bool:
        """See Follower."""
        import ray
        from ray.exceptions import GetTimeoutError

        if not self.why and time.monotonic() - self._asked > LOOK:
            self._asked = time.monotonic()
            with suppress(GetTimeoutError):
                self.why = ray.get(self._board.asks.remote(self._trial.name), timeout=LOOK)
        return bool(self.why)


def play(config: dict[str, Any], orders: Orders, board: Any) -> None:
    """What Ray Tune calls. config: {"trial": its number}.

    Returns also when the run fails, since it would fail again; Tune starts a trial anew whose process is lost.
    """
    import torch

    trial = orders.trials[config["trial"]]
    reporter = Reporter(trial, orders, board)
    if Path(orders.cwd).is_dir():
        os.chdir(orders.cwd)
    if (number := trial.config.cluster.threads) != "auto":
        torch.set_num_threads(number)
    if reporter.wants_stop() and reporter.why == "everyone":
        # Nothing has begun; but it had in a process that was lost.
        reporter.tell("interrupted")
        return
    reporter.tell("began", pid=os.getpid())
    for images, value in orders.earlier.get(trial.name, ()):
        reporter.report(images, value)
    try:
        composed = Composed(trial.config.model_dump(mode="json"), trial.name)
        outcome = run(composed, within=Within(orders.place, orders.address, reporter))
    except GandistError as error:
        reporter.tell("failed", error=str(error))
    except Exception as error:
        reporter.tell("failed", error=f"{type(error).__name__}: {error}")
    else:
        if outcome.code == STOPPED:
            reporter.tell("interrupted" if reporter.why != "it" else "stopped early")
        else:
            # Of a run that an earlier command finished, this is the first that the board hears.
            metrics = outcome.result["metrics"]
            reporter.tell(
                "done",
                step=outcome.result["steps"],
                images=outcome.result["images"],
                value=metrics.get(orders.metric, math.nan),
                metrics=metrics,
            )
