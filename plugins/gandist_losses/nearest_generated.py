"""Anomalies by the nearest generated sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from gandist import Facts, Noise, squared_distances
from gandist_losses.r3gan import R3GAN


class NearestGenerated(R3GAN):
    """r3gan's game, after which a sample is as anomalous as it is far from what the generator makes.

    AnoGAN (Schlegl et al. 2017, equation 3) looks for the latents whose sample comes nearest by descending from a few
    random ones, for every sample anew. Points of a table are cheap to make and to compare, so that here many latents,
    the same for all, are looked through instead; and to be near one generated sample is not enough, since a generator
    makes a stray one now and then: the `neighbour`-th nearest counts.
    """

    name: ClassVar[str] = "nearest-generated"

    latents: int = Field(default=4096, ge=2, le=1_000_000)
    """Generated samples that are looked through."""
    neighbour: int = Field(default=5, ge=1, le=1000)
    """The nearest, second nearest, … of them whose distance is the score."""

    def refuse(self, facts: Facts) -> str | None:
        """Images, whose pixels say little by their distance."""
        return "compares points and not images" if facts.images else None

    def anomaly(self, players: Mapping[str, nn.Module], samples: Tensor) -> Tensor:
        """Euclidean distance to the `neighbour`-th nearest of the generated samples, (B,)."""
        return self.distances(self.generated(players["generator"], samples), samples)

    def generated(self, generator: nn.Module, like: Tensor) -> Tensor:
        """The samples that are looked through, (latents, D), of the type of `like` and beside it."""
        count = self.latents
        noise = Noise(self.name, start=0, stop=count, total=count, device=like.device, dtype=like.dtype)
        return generator(generator.draw(noise, count), None)  # type: ignore[operator]

    def distances(self, generated: Tensor, samples: Tensor) -> Tensor:
        """(latents, D) and (B, D) → (B,)."""
        # Shifted, since what is lost to rounding grows with the distance from 0.
        center = generated.mean(0)
        squares = squared_distances(samples - center, generated - center)
        return squares.kthvalue(min(self.neighbour, len(generated)), dim=1).values.sqrt()
