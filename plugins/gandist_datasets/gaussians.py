"""Mixtures of Gaussians in the plane, where lost modes can be counted (PacGAN: Lin et al. 2018, section 4.1)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from gandist import Dataset, Source
from gandist_datasets.arrays import Arrays

SIGMA = {"ring": 0.01, "grid": 0.05}


class Mixture(Arrays):
    """Points (2,) labelled with their mode; the mixture itself is known, so that samples can be judged by it."""

    centers: Tensor
    """Means of the modes, float32 (M, 2); a point's label is its row here."""
    sigma: float
    """Standard deviation of every mode, in both directions."""

    def __init__(self, centers: NDArray, sigma: float, count: int):
        modes = np.arange(count) % len(centers)
        # RandomState and not default_rng: its stream is the same in every version of numpy (NEP 19). It is drawn from
        # point by point, so that the first points are the same whatever the count.
        noise = np.random.RandomState(0).standard_normal((count, 2))
        points = (centers[modes] + sigma * noise).astype(np.float32)
        super().__init__(points, modes, len(centers))
        self.centers = torch.from_numpy(centers.astype(np.float32))
        self.sigma = sigma


class Gaussians(Dataset):
    """A ring of 8 or a grid of 25 narrow Gaussians in the plane, as in PacGAN (Lin et al. 2018)."""

    name: ClassVar[str] = "gaussians"

    root: str | None = None
    """Ignored, so that data sets can be exchanged by name. The points are generated."""
    layout: Literal["ring", "grid"] = "ring"
    """ring: 8 modes on a circle; grid: 25 modes on a 5×5 lattice around 0."""
    count: int = Field(100_000, ge=100, le=10_000_000)
    """Points, the same number in every mode (one more or less)."""
    radius: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Of the ring."""
    spacing: float = Field(2.0, gt=0, allow_inf_nan=False)
    """Between neighbours of the grid."""
    sigma: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Standard deviation of a mode; null is the protocol's: 0.01 on the ring, 0.05 on the grid."""

    @model_validator(mode="after")
    def _only_own_fields(self) -> Self:
        foreign = "spacing" if self.layout == "ring" else "radius"
        if foreign in self.model_fields_set and getattr(self, foreign) != type(self).model_fields[foreign].default:
            raise ValueError(f"{foreign} has no meaning with layout: {self.layout}; remove it or change the layout")
        return self

    def open(self) -> Source:
        """Points float32 (2,), labelled with their mode; the source has `centers` (M, 2) and `sigma` too."""
        if self.layout == "ring":
            angles = np.arange(8) * (math.tau / 8)
            centers = self.radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        else:
            line = (np.arange(5) - 2) * self.spacing
            centers = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
        return Mixture(centers, self.sigma or SIGMA[self.layout], self.count)
