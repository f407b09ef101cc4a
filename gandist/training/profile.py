"""A trace of some steps, as torch's profiler makes it, in a file that Perfetto opens."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.profiler import ProfilerActivity, profile, record_function

if TYPE_CHECKING:
    from gandist.training.surroundings import Surroundings

FOLDER = "profile"
WARM_UP = 10
"""Steps that go before, where only a number of steps is given: the first ones allocate, compile and fill caches."""


@dataclass(frozen=True)
class ProfiledSteps:
    """count steps from step `first`, counted from 0; None is WARM_UP steps after the command's first."""

    first: int | None
    count: int

    def settled(self, begin: int, total: int) -> range:
        """The steps of a run of `total` that goes on at step `begin`."""
        first = self.first
        if first is None:
            first = max(begin, min(begin + WARM_UP, total - self.count))
        return range(first, min(total, first + self.count))


class Profile:
    """Records what a rank does in the asked steps; nothing at all where none are asked for.

    The file is `profile/rank-N.json.gz` in the run folder. Steps and the parts of a step are ranges with their names.
    """

    def __init__(self, around: Surroundings, total: int, begin: int):
        self._around = around
        self._steps = around.profile.settled(begin, total) if around.profile else range(0)
        self._profiler: profile | None = None
        self._step, self._part = ExitStack(), ExitStack()
        if self._steps and self._steps.start < begin and around.rank == 0:
            around.warn(f"--profile: step {self._steps.start} is done already, the run goes on at step {begin}")

    def at(self, step: int) -> None:
        """A step begins."""
        if not self._steps:
            return
        if step == self._steps.start:
            # Otherwise it tells stderr of its own start and stop.
            os.environ.setdefault("KINETO_LOG_LEVEL", "99")
            activities = [ProfilerActivity.CPU]
            if self._around.device.type == "cuda":
                activities.append(ProfilerActivity.CUDA)
            self._profiler = profile(activities=activities)
            self._profiler.start()
        elif step >= self._steps.stop:
            self.close()
        if self._profiler is not None:
            self._leave()
            self._step.enter_context(record_function(f"step {step}"))

    def mark(self, part: str) -> None:
        """Another part of the step begins."""
        if self._profiler is not None:
            self._part.close()
            self._part.enter_context(record_function(part))

    def close(self) -> None:
        """Writes what was recorded."""
        if self._profiler is None:
            return
        self._leave()
        if self._around.device.type == "cuda":
            # What the last step has started belongs to it.
            torch.cuda.synchronize(self._around.device)
        self._profiler.stop()
        path = self._around.folder / FOLDER / f"rank-{self._around.rank}.json.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Under another name first, whose ending says that it is compressed.
        partial = path.with_name(f"partial-{path.name}")
        self._profiler.export_chrome_trace(str(partial))
        partial.replace(path)
        self._profiler = None
        if self._around.mirror is not None:
            self._around.mirror.put(path, f"{FOLDER}/{path.name}")

    def _leave(self) -> None:
        self._part.close()
        self._step.close()
