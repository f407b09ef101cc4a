"""The evaluations of a run: by all ranks in turn, or of checkpoints by a process beside the training."""

from __future__ import annotations

import time
from collections.abc import Mapping

from torch import Tensor

from gandist.training.requests import LEAVING
from gandist.training.state import State
from gandist.training.surroundings import Announce, Returned, Surroundings
from gandist.training.waiting import on_rank_0

LOOK = 0.2
"""Seconds between two looks, at the end of a run, whether somebody wants it to leave without the last scores."""


class Evaluations:
    """Decides on all ranks alike who scores, and takes in what comes back late.

    `progress.pending` holds the steps whose checkpoints are still to be scored beside the training: at most two, the
    one at work and the newest. It is part of every checkpoint, so that a run that goes on scores again what had not
    come back. All ranks call all methods at the same steps.
    """

    def __init__(self, state: State, around: Surroundings):
        self._state, self._around = state, around
        self._beside = state.config.evaluate.asynchronous and around.evaluator is not None
        self._announce: Announce = lambda hook, **facts: None
        # Of steps. What a run goes on with is whole.
        self._whole = set(state.progress.pending)
        self._told = False

    def prepare(self) -> None:
        """Makes ready what scores need, before the first step, unless another process will do it."""
        around = self._around
        if around.evaluator is not None and self._state.config.evaluate.every and not self._beside:
            around.post("preparing the evaluation", self._state.progress.step, self._state.images)
            around.evaluator.prepare()

    def begin(self, announce: Announce) -> None:
        """Goes on with what had not come back when the run was left."""
        self._announce = announce
        if self._state.progress.pending and not self._has_room():
            self._in_turn(late=True)

    def due(self) -> bool:
        """Scores the current step, or leaves it to the process beside. Returns whether a checkpoint is due."""
        progress = self._state.progress
        # The one at work comes to its end; of those that would wait for it the newest does.
        progress.pending = [*progress.pending[:1], progress.step]
        return self._has_room() or self._in_turn(late=False)

    def written(self, step: int) -> None:
        """The checkpoint of a step is whole. For rank 0."""
        self._whole.add(step)

    def look(self) -> None:
        """Hands on the next checkpoint as soon as it is whole. For rank 0; costs nothing where none waits."""
        beside, pending = self._around.beside, self._state.progress.pending
        if beside is not None and pending and not beside.busy and pending[0] in self._whole:
            beside.start(pending[0])

    def collect(self) -> bool:
        """Takes in what has come back. Returns whether a checkpoint is due, as no better score is waited for."""
        self._take(on_rank_0(self._returned))
        return self._state.exhausted

    def finish(self) -> bool:
        """Waits for the last scores. Returns whether the run leaves without them, as somebody asked for it."""
        progress = self._state.progress
        while progress.pending and not self._state.exhausted:
            if not self._has_room():
                self._in_turn(late=True)
                return False
            self._around.post("waiting for the evaluation", progress.step, self._state.images)
            returned = on_rank_0(self._next)
            if returned is None:
                return True
            self._take(returned)
        return False

    def _has_room(self) -> bool:
        """Whether the process beside has, or finds, a place."""
        if not self._beside:
            return False
        beside = self._around.beside
        return on_rank_0(lambda: beside is not None and beside.room())

    def _in_turn(self, late: bool) -> bool:
        """All ranks score the current step, if it is to be scored; what is older is left out.

        late: its log line has been written. Returns whether a checkpoint is due.
        """
        state, around = self._state, self._around
        step, pending = state.progress.step, state.progress.pending
        state.progress.pending = []
        if self._beside:
            self._say_why([one for one in pending if one != step])
        if step not in pending:
            return False
        assert around.evaluator is not None
        state.share_buffers()
        saves = state.judge(around.evaluator.measure(state.smoothed_players, state.config.run.seed), step)
        self._tell(step, around.evaluator.pictures, late)
        return saves

    def _tell(self, step: int, pictures: Mapping[str, Tensor], late: bool) -> None:
        self._announce("gandist_on_evaluation", step=step, metrics=self._state.progress.metrics, late=late)
        if pictures:
            self._announce("gandist_on_pictures", step=step, pictures=pictures)

    def _say_why(self, left_out: list[int]) -> None:
        beside = self._around.beside
        if self._around.rank != 0 or beside is None:
            return
        if not self._told:
            self._told = True
            self._around.warn(f"evaluate.async: {beside.no_room}: all workers score in turn until there is")
        for one in left_out:
            self._around.warn(f"the scores of step {one} are left out: {beside.no_room}")

    def _returned(self) -> Returned:
        beside = self._around.beside
        assert beside is not None
        return beside.take()

    def _next(self) -> Returned | None:
        """The next one to come back, or None if the run should leave before. On rank 0."""
        around = self._around
        assert around.beside is not None
        # At the end of a run every checkpoint is.
        self._whole.update(self._state.progress.pending)
        self.look()
        while not around.beside.returned:
            if "stop" in around.requests() or (around.until is not None and time.time() + LEAVING > around.until):
                return None
            around.beside.wait(LOOK)
        return around.beside.take()

    def _take(self, returned: Returned) -> None:
        """Notes what has come back, on all ranks, and tells it."""
        state, step = self._state, returned.step
        progress = state.progress
        progress.pending = [one for one in progress.pending if one != step]
        if returned.scores is None:
            if self._around.rank == 0:
                self._around.warn(f"the scores of step {step} are missing: {returned.reason}; the training goes on")
            return
        state.judge(returned.scores, step)
        self._tell(step, returned.pictures, late=True)
        if state.exhausted:
            progress.pending = []
