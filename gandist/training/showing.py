"""The pictures of a run: samples of the same latents each time, or what its loss shows of given samples."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from gandist.contract.components import Source
from gandist.contract.noise import key
from gandist.contract.resting import at_rest, seeded
from gandist.contract.showing import Shows
from gandist.contract.turn import as_played
from gandist.training.sampling import draws, samples, to_bytes
from gandist.training.state import State
from gandist.training.surroundings import Surroundings

PICTURE = {True: 64, False: 2048}
"""Samples in a picture, of images and of points; always of the same latents."""
GIVEN = 16
"""Given samples in a picture; always the same."""


class Showing:
    """Makes the pictures, on rank 0, outside of any collective and of the training's random state."""

    def __init__(self, state: State, source: Source, around: Surroundings):
        self._state, self._source, self._around = state, source, around
        self.possible = around.rank == 0 and (draws(state.networks) or isinstance(state.config.loss, Shows))
        """Whether this rank has something to show."""

    @torch.no_grad()
    def picture(self) -> Tensor:
        """uint8 images (N, C, H, W) or points (N, D), on the host."""
        state, seed, device = self._state, self._state.config.run.seed, self._around.device
        if draws(state.networks):
            shown = PICTURE[state.facts.images]
            made = samples(state.generator, state.facts, seed=seed, start=0, stop=shown, device=device)
            return torch.cat(list(made)).cpu()
        loss, players = state.config.loss, state.smoothed_players
        assert isinstance(loss, Shows)
        with at_rest(players.values()), seeded(key(seed, "shown"), device):
            return to_bytes(loss.show(players, self._given)).cpu()

    @cached_property
    def _given(self) -> dict[str, Tensor]:
        """A few samples on the device, spread over those that are held out, or over the training's."""
        rows: dict[str, Tensor] = {}
        for source in (self._source.held_out() or self._source).streams().values():
            count = min(GIVEN, len(source))
            rows |= source.read([place * len(source) // count for place in range(count)])
        around = self._around
        return {name: as_played(entry.to(around.device), around.dtype) for name, entry in rows.items()}
