"""What a run can do whose players turn images of one domain into another's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Translates(Protocol):
    """A loss whose trained players translate images between two domains, "a" and "b".

    The generator may say `divisor_of_sides`, what height and width of the images must divide by.
    """

    targets: ClassVar[tuple[str, ...]]
    """The domains that it translates to; the first is the usual one."""

    def translate(self, players: Mapping[str, nn.Module], images: Tensor, to: str) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] of the other domain → images of `to`, of the same shape and range.

        players: at least the generator, the smoothed one, by name and in eval mode. Images of any size whose sides
        divide by `divisor_of_sides`.
        """
        ...
