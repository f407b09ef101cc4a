"""How a run is shown whose generator does not draw samples from noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Shows(Protocol):
    """A loss that makes pictures of what its players do with given samples."""

    def show(self, players: Mapping[str, nn.Module], rows: Mapping[str, Tensor]) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1], of any size but all of one.

        players: by name, in eval mode, the generator the smoothed one. rows: a few samples, the same each time, of the
        held-out ones where there are any; images as float in [-1, 1].
        """
        ...
