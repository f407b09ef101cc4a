"""Samples of the generator as it is trained, for the watchers that ask for them."""

from __future__ import annotations

import torch
from torch import Tensor

from gandist.training.sampling import draws, samples
from gandist.training.state import State
from gandist.training.surroundings import Surroundings


class Probes:
    """What the watchers beside rank 0 ask for. Nothing is drawn on other ranks, or when nobody asks."""

    def __init__(self, state: State, around: Surroundings):
        self._state, self._device = state, around.device
        watchers = state.config.tracking.values() if around.rank == 0 and draws(state.networks) else ()
        self._wanted = [watcher.probe for watcher in watchers if watcher.place == "rank 0" and watcher.probe]

    def due(self, step: int) -> int:
        """How many samples are wanted when `step` steps are finished."""
        return max((probe.count for probe in self._wanted if step % probe.every == 0), default=0)

    def draw(self, count: int) -> Tensor:
        """Samples 0 ≤ i < count of the run's seed, as `to_bytes` gives them, on the host.

        Of the un-smoothed generator: the average of its weights shows a collapse thousands of images later.
        """
        seed, facts = self._state.config.run.seed, self._state.facts
        generator = self._state.networks["generator"]
        drawn = samples(generator, facts, seed=seed, start=0, stop=count, device=self._device)
        return torch.cat(list(drawn)).cpu()
