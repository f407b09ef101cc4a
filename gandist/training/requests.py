"""What the run is asked for, agreed on by all ranks at every step."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from gandist.contract.collective import distributed
from gandist.training.exchange import Exchange
from gandist.training.surroundings import Surroundings

KNOWN = ("stop", "save", "failed", "scored")
LEAVING = 10.0
"""Seconds before `until` that remain for the last step, the checkpoint and the way out, beside the slowest write."""


class Requests:
    """Rank 0 asks at the beginning of a step, all have the answer at its end: a decision that one rank took alone would
    leave the others waiting. It travels with the gradients in shared memory, or as a broadcast while the players play.
    """

    def __init__(self, around: Surroundings, timeout: float, exchange: Exchange | None = None):
        self._around, self._exchange, self._work = around, exchange, None
        self._word = torch.zeros((), dtype=torch.int32)
        self._group: Any = None
        if distributed() and exchange is None:
            # A group of its own on the CPU: on a GPU the answer would wait for the device.
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout))
        self._warned = False

    def ask(self) -> None:
        """Sends what rank 0 was asked for."""
        if self._around.rank == 0:
            wanted = self._around.requests() | self._time_is_up()
            if self._around.writer.failure:
                wanted.add("failed")
            if self._around.beside is not None and self._around.beside.returned is not None:
                wanted.add("scored")
            self._word.fill_(sum(1 << bit for bit, name in enumerate(KNOWN) if name in wanted))
            if self._exchange is not None:
                self._exchange.tell(int(self._word))
        if self._group is not None:
            self._work = dist.broadcast(self._word, 0, group=self._group, async_op=True)

    def answer(self) -> set[str]:
        """What was asked for, the same on all ranks: "stop", "save", "failed" if a checkpoint was given
        up, or "scored" if an evaluation beside the training has come back."""
        if self._work is not None:
            self._work.wait()
        word = int(self._word) if self._exchange is None else self._exchange.told()
        return {name for bit, name in enumerate(KNOWN) if word >> bit & 1}

    def _time_is_up(self) -> set[str]:
        until = self._around.until
        if until is None or time.time() + LEAVING + 2 * self._around.writer.longest < until:
            return set()
        if not self._warned:
            self._warned = True
            self._around.warn("train.hours is nearly over: leaving with a checkpoint")
        return {"stop"}

    def close(self) -> None:
        """Gives the group back."""
        if self._group is not None:
            dist.destroy_process_group(self._group)
