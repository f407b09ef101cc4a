"""A data set: opens a source, from which samples are read by index."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gandist import Dataset, Facts, Source


class Points(Source):
    """Points in memory, float32 (N, 2). A source must be picklable: other processes may read from it."""

    def __init__(self, points: Tensor, fingerprint: str):
        self.points = points
        self.facts = Facts(shape=(2,), classes=0, size=len(points), fingerprint=fingerprint)

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The points of these indices; with classes there would be "labels" too."""
        return {"real": self.points[torch.tensor(indices)]}


class Checkerboard(Dataset):
    """Points spread evenly over the dark fields of a checkerboard, between -2 and 2."""

    name: ClassVar[str] = "example-checkerboard"

    side: int = Field(default=4, ge=2, le=64, multiple_of=2)
    """Fields along each side."""
    count: int = Field(default=20_000, ge=1)
    """Number of points."""

    def open(self) -> Source:
        """Draws the points, the same ones every time."""
        generator = torch.Generator().manual_seed(0)
        row = torch.randint(self.side, (self.count,), generator=generator)
        column = 2 * torch.randint(self.side // 2, (self.count,), generator=generator) + row % 2
        inside = torch.rand(self.count, 2, generator=generator)
        points = (torch.stack([column, row], dim=1) + inside) * (4 / self.side) - 2
        return Points(points, fingerprint=f"checkerboard {self.side} {self.count}")
