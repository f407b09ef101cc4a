"""Evaluations beside the training: rank 0 gives a checkpoint to a Ray task, on a CPU or GPU that nobody uses."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gandist.config.resolve import resolve
from gandist.config.schema import Config
from gandist.errors import RunError
from gandist.evaluation.evaluator import Evaluator
from gandist.launch.placement import Seats
from gandist.launch.resources import Place
from gandist.training.checkpoint import name_of
from gandist.training.mirror import CHECKPOINTS, Mirror
from gandist.training.staging import staging
from gandist.training.surroundings import Returned
from gandist.using.load import load

WAIT, AGAIN = 5.0, 0.5
"""Seconds that a free place is waited for, the first time and after there was none."""
BEHIND = 10
"""How much the process gives way to others that want the same core."""


@dataclass(frozen=True)
class Order:
    """What the task needs to know. place: what it takes, see `place_beside`. folder: of the run, which all nodes see;
    url: the run on object storage, or None. cwd: where relative paths start."""

    place: dict[str, float]
    config: dict[str, Any]
    folder: str
    url: str | None
    cwd: str


def place_beside(config: Config, seats: Seats, alone: Place | None = None) -> dict[str, float]:
    """What an evaluation beside the workers takes, in Ray's words: one CPU, or a GPU as they have.

    alone: the machine that the run has for itself. {} if none is asked for, or if the workers take all of the machine.
    """
    workers = config.cluster.most_workers
    if not (config.evaluate.asynchronous and config.evaluate.every and workers):
        return {}
    if alone is not None:
        free = alone.gpus - workers if seats.gpu else alone.cpus - workers * seats.threads
        if free < 1:
            return {}
    return {name: count for name, count in seats.bundle.items() if name != "CPU"} if seats.gpu else {"CPU": 1}


def score(order: Order, step: int) -> Returned:
    """The task: the scores of a checkpoint, as the ranks would have measured them in its step."""
    os.nice(BEHIND)
    torch.set_num_threads(1)
    if Path(order.cwd).is_dir():
        os.chdir(order.cwd)
    config = resolve(order.config)
    if config.train.deterministic:
        torch.use_deterministic_algorithms(True)
    device = torch.device("cuda" if "GPU" in order.place else "cpu")
    with ExitStack() as stack:
        path = Path(order.folder) / CHECKPOINTS / name_of(step)
        if order.url is not None:
            path = Mirror(order.url).fetch(name_of(step), stack.enter_context(staging()))
        trained = load(path, device)
        source = config.dataset.open()
        for stream in source.streams().values():
            stream.prepare(lambda text: None)
        evaluator = Evaluator(config, source, device)
        scores = evaluator.measure(trained.players, config.run.seed)
        return Returned(step, scores, pictures=evaluator.pictures)


class Beside:
    """See `gandist.training.surroundings.Beside`. A thread waits for each task; a task that is lost is not repeated."""

    def __init__(self, order: Order, limit: float):
        self._order, self._limit = order, limit
        kind = "GPU" if "GPU" in order.place else "CPU"
        self.no_room = f"no {kind} was free for it within {WAIT:g} s"
        self._patience = WAIT
        self._group: Any = None
        self._task: Any = None
        self._thread: threading.Thread | None = None
        self._returned: Returned | None = None

    @property
    def busy(self) -> bool:
        """Whether an evaluation is at work, or has not been taken yet."""
        return self._thread is not None

    @property
    def returned(self) -> Returned | None:
        """What has come back and was not taken."""
        return self._returned

    def room(self) -> bool:
        """Holds a place until the next evaluation is over. Waits `WAIT` seconds for it at most."""
        return self.busy or self._reserve()

    def start(self, step: int) -> None:
        """Begins to score the checkpoint of a step."""
        self._thread = threading.Thread(target=self._run, args=(step,), name=f"evaluation {step}", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Waits for the one at work."""
        if self._thread is not None:
            self._thread.join(seconds)

    def take(self) -> Returned:
        """What has come back."""
        assert self._returned is not None
        returned, self._returned, self._thread = self._returned, None, None
        return returned

    def close(self) -> None:
        """Ends what is at work and gives the place back."""
        with suppress(Exception):
            self._end()
        self._release()

    def _reserve(self) -> bool:
        if self._group is not None:
            return True
        try:
            from ray.util import placement_group

            self._group = placement_group([self._order.place])
            if self._group.wait(timeout_seconds=self._patience):
                self._patience = WAIT
                return True
        except Exception as error:
            self.no_room = f"Ray gave no place for it: {_told(error)}"
        self._patience = AGAIN
        self._release()
        return False

    def _release(self) -> None:
        group, self._group = self._group, None
        # The connection may be gone, and the place with it.
        with suppress(Exception):
            if group is not None:
                from ray.util import remove_placement_group

                remove_placement_group(group)

    def _run(self, step: int) -> None:
        try:
            returned = self._scored(step)
        except Exception as error:
            returned = Returned(step, None, _told(error))
        self._task = None
        self._release()
        self._returned = returned

    def _scored(self, step: int) -> Returned:
        import ray
        from ray.exceptions import GetTimeoutError
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        if not self._reserve():
            raise RunError(self.no_room)
        place = self._order.place
        # A process of its own each time: what it has set and kept must not meet a worker that comes after it.
        self._task = (
            ray.remote(max_calls=1, max_retries=0)(score)
            .options(
                num_cpus=place.get("CPU", 0),
                num_gpus=place.get("GPU", 0),
                scheduling_strategy=PlacementGroupSchedulingStrategy(self._group),
            )
            .remote(self._order, step)
        )
        try:
            return ray.get(self._task, timeout=self._limit)
        except GetTimeoutError:
            self._end()
            raise RunError(f"they did not come within {self._limit:g} s (evaluate.limit)") from None

    def _end(self) -> None:
        if self._task is not None:
            import ray

            ray.cancel(self._task, force=True)


def _told(error: Exception) -> str:
    """What a task died of, in a line."""
    from ray.exceptions import NodeDiedError, WorkerCrashedError

    if isinstance(error, WorkerCrashedError | NodeDiedError):
        return "the process that made them died: it was killed, ran out of memory, or lost its node"
    cause = getattr(error, "cause", None) or error
    first = (str(cause).strip().splitlines() or [""])[0]
    return first if isinstance(cause, RunError) else f"{type(cause).__name__}: {first}"
