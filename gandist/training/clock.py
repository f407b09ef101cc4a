"""When things are due, and where the seconds go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gandist.config.schema import Config

DATA, EVALUATION, LOGGING, SAMPLES, CHECKPOINT, OTHER = PARTS = (
    "data", "evaluation", "logging", "samples", "checkpoint", "other",
)  # fmt: skip
"""What a step's time goes into, beside the turns of the players."""


@dataclass(frozen=True)
class Due:
    """What happens after a step. The last step is logged, sampled, saved and evaluated, whatever the intervals."""

    evaluate: bool
    log: bool
    sample: bool
    save: bool


def due(config: Config, step: int) -> Due:
    """What is due when `step` steps are finished."""
    train, last = config.train, step == config.steps

    def every(interval: int) -> bool:
        return last or (interval > 0 and step % interval == 0)

    evaluate = config.evaluate.every > 0 and every(config.evaluate.every)
    return Due(evaluate, evaluate or every(train.log_every), every(train.sample_every), every(train.save_every))


class Clock:
    """Wall seconds of this process since the last log line, by what they went into.

    One reading of a monotonic clock each time the loop turns to something else, and no waiting for a device.
    players: each player's turns are a part. mark: told of every change to another part, if given.
    """

    def __init__(self, players: Iterable[str] = (), mark: Callable[[str], None] | None = None) -> None:
        self._seconds = dict.fromkeys((DATA, *players, *PARTS[1:]), 0.0)
        self._mark, self._part, self._since, self._steps = mark, OTHER, time.perf_counter(), 0

    def enter(self, part: str) -> None:
        """From now on time goes into `part`, until it goes into another."""
        now = time.perf_counter()
        self._seconds[self._part] += now - self._since
        if self._mark is not None and part != self._part:
            self._mark(part)
        self._part, self._since = part, now

    def step(self) -> None:
        """A step is finished."""
        self._steps += 1

    def read(self, images_per_step: int) -> dict[str, float]:
        """Throughput since the last reading, and seconds a step, whole and by part; starts anew."""
        self.enter(self._part)
        spent, steps, elapsed = self._seconds, max(1, self._steps), sum(self._seconds.values())
        self._seconds, self._steps = dict.fromkeys(spent, 0.0), 0
        return {
            "images_per_second": steps * images_per_step / max(elapsed, 1e-9),
            "seconds/step": elapsed / steps,
            **{f"seconds/{part}": seconds / steps for part, seconds in spent.items()},
        }
