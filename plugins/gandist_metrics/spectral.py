"""Radial power spectrum: upsampling leaves its traces in the high frequencies (Durall et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from gandist import Extractor, Metric, Real, Scored, Source


def radial_spectrum(images: Tensor) -> Tensor:
    """Mean power of uint8 images (B, C, H, W) in rings of equal frequency, float64 (B, R), R half the smaller side.

    Ring r holds the frequencies of about r cycles along the smaller side, r from 1; the mean brightness is left out.
    """
    height, width = images.shape[-2:]
    smaller = min(height, width)
    power = torch.fft.fft2(images.double().div(127.5).sub(1), norm="ortho").abs().square().mean(1)
    down = torch.fft.fftfreq(height, dtype=torch.float64, device=images.device)[:, None]
    right = torch.fft.fftfreq(width, dtype=torch.float64, device=images.device)
    ring = ((down.square() + right.square()).sqrt() * smaller).round().long().flatten()
    count = smaller // 2
    inside = (ring >= 1) & (ring <= count)
    sums = torch.zeros(len(images), count, dtype=torch.float64, device=images.device)
    sums.index_add_(1, ring[inside] - 1, power.flatten(1)[:, inside])
    return sums / torch.bincount(ring[inside] - 1, minlength=count)


class Spectral(Metric):
    """Root mean square difference, in decibels over frequencies, of the radial power spectra of samples and images."""

    name: ClassVar[str] = "spectral"
    scores: ClassVar[tuple[str, ...]] = ("spectral",)
    floors: ClassVar[tuple[str, ...]] = ("spectral",)

    def space(self, features: Extractor) -> None:
        """The images themselves."""

    def unfit(self, source: Source) -> str | None:
        """Points have no frequencies."""
        return None if source.facts.images else "needs images, the data set has points; use modes"

    def statistics(self, real: Real) -> dict[str, Tensor]:
        """The mean spectrum of the reference half, (R,)."""
        found = [radial_spectrum(batch.samples) for batch in real.batches("reference") if batch.samples is not None]
        return {"spectrum": torch.cat(found).mean(0)}

    def sums(self, batch: Scored, known: Mapping[str, Tensor]) -> Tensor:
        """Of the spectra."""
        assert batch.samples is not None
        return radial_spectrum(batch.samples).sum(0)

    def result(self, sums: Tensor, count: int, known: Mapping[str, Tensor]) -> dict[str, float]:
        """0 for the same spectrum."""
        tiny = torch.finfo(torch.float64).tiny
        apart = 10 * ((sums / count).clamp(min=tiny).log10() - known["spectrum"].clamp(min=tiny).log10())
        return {"spectral": float(apart.square().mean().sqrt())}
