"""When things are due, and where the seconds go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gandist.config.schema import Config


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
    """Wall seconds since the last log line, and how many of them went into waiting for data."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self._data = 0.0
        self._steps = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within it, time counts as waiting for data."""
        begin = time.perf_counter()
        yield
        self._data += time.perf_counter() - begin

    def step(self) -> None:
        """A step is finished."""
        self._steps += 1

    def read(self, images_per_step: int) -> dict[str, float]:
        """Throughput since the last reading; starts anew."""
        now = time.perf_counter()
        elapsed, steps, data = now - self._begin, max(1, self._steps), self._data
        self._begin, self._data, self._steps = now, 0.0, 0
        return {
            "images_per_second": steps * images_per_step / max(elapsed, 1e-9),
            "seconds/step": elapsed / steps,
            "seconds/data": data / steps,
        }
