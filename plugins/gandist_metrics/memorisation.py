"""Samples that are copies of training images, told by how near they come to one."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gandist import Compared, Metric, Real, nearest

_CALIBRATED = 4_000
_BLOCK = 512


class Memorisation(Metric):
    """How near samples come to training images, beside how near a real image comes to the others.

    The distance of a training image to its nearest neighbour among the others is what a fresh real image would have. A
    sample nearer than almost all of them is memorised; and if samples are nearer than real images on the whole, the
    generator leans on single training images (as the test of Meehan et al. 2020 has it).
    """

    name: ClassVar[str] = "memorisation"
    scores: ClassVar[tuple[str, ...]] = ("memorised", "nearer")
    gathers: ClassVar[tuple] = ("features",)

    share: float = Field(default=0.005, gt=0, lt=0.5)
    """Of real images that would be called memorised too: the threshold is this quantile of their distances."""
    limit: int = Field(default=100_000, ge=100)
    """Training images that are searched, a random draw of them where there are more."""

    def statistics(self, real: Real) -> dict[str, Tensor]:
        """Features (N, D) of training images, shifted by their mean, and the distances (M,) of real images to them."""
        features = real.rows("all", self.limit).features
        assert features is not None
        center = features.mean(0, dtype=torch.float64).float()
        training = features - center
        # The order is random already, where it is a draw; else every n-th.
        chosen = torch.arange(0, len(training), max(1, len(training) // _CALIBRATED))[:_CALIBRATED]
        found = [nearest(training[rows], training, without=rows)[0] for rows in chosen.split(_BLOCK)]
        return {"center": center, "training": training, "real": torch.cat(found).sort().values}

    def compare(self, compared: Compared) -> dict[str, float]:
        """`memorised`, a share from 0 to 1; `nearer`, the chance that a sample is nearer to a training image than a
        real one is, 0.5 for real ones."""
        distances, real = self.distances(compared), compared.known["real"]
        below = torch.searchsorted(real, distances)
        equal = torch.searchsorted(real, distances, right=True) - below
        nearer = 1 - (below + equal / 2) / len(real)
        return {"memorised": float((distances <= self.threshold(real)).double().mean()), "nearer": float(nearer.mean())}

    def suspicion(self, compared: Compared) -> Tensor:
        """How far below the threshold a sample's distance lies."""
        return self.threshold(compared.known["real"]) - self.distances(compared)

    def threshold(self, real: Tensor) -> Tensor:
        """The distance up to which a sample counts as memorised, from the sorted distances of real images."""
        return real[int(self.share * len(real))]

    def distances(self, compared: Compared) -> Tensor:
        """Of each sample to the nearest training image, float64 (N,)."""
        features, known = compared.fake.features, compared.known
        assert features is not None
        rows = features - known["center"]

        def found() -> Tensor:
            return compared.by_block(len(rows), lambda block: nearest(rows[block], known["training"])[0])

        return compared.kept(("to training images", self.limit), found)
