"""Training loops that race in one process: each in a thread of its own, which runs only while it is its turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch

from gandist import Source
from gandist.config.schema import Config
from gandist.training.loop import train
from gandist.training.surroundings import Surroundings

Run = Callable[[Callable[[int], None]], None]
"""A loop that calls its argument with the number of images after each step."""


def gandist_loop(config: Config, source: Source, **around: Any) -> Run:
    """gandist's own loop, as a worker runs it. around: fields of Surroundings."""

    def run(stepped: Callable[[int], None]) -> None:
        done = 0

        def post(phase: str, step: int, images: int) -> None:
            # The loop says where it is several times a step.
            nonlocal done
            if step > done:
                done = step
                stepped(config.images_per_step)

        train(config, source, Surroundings(**around, post=post))

    return run


class Contestant:
    """A training loop. Its time is that of the CPU, or on a GPU the clock's until all work given to it is done."""

    def __init__(self, run: Run, device: torch.device | None = None) -> None:
        self._run, self._error = run, None
        self._gpu = device is not None and device.type == "cuda"
        self._clock = time.perf_counter if self._gpu else time.process_time
        self._images, self._deadline = 0, 0.0
        self._go, self._rests = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._train, daemon=True)

    def _train(self) -> None:
        torch.set_num_threads(1)
        self._go.wait()
        try:
            self._run(self._stepped)
        except BaseException as error:
            self._error = error
        self._rests.set()

    def _stepped(self, images: int) -> None:
        self._images += images
        if self._clock() >= self._deadline:
            self._go.clear()
            self._rests.set()
            self._go.wait()

    def race(self, seconds: float) -> float:
        """Images per second over whole steps, at least so many seconds long."""
        if not self._thread.is_alive():
            self._thread.start()
        begin, self._images = self._now(), 0
        self._deadline = begin + seconds
        self._rests.clear()
        self._go.set()
        self._rests.wait()
        if self._error is not None:
            raise self._error
        return self._images / (self._now() - begin)

    def _now(self) -> float:
        if self._gpu:
            torch.cuda.synchronize()
        return self._clock()
