"""What `directions` and `factors` return."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gandist.using.interpreting.spaces import Space

_MEASURED = 4096
"""Codes that the spread along a direction is measured on."""
SEED = 0
"""Of the codes that directions are found from: what is found does not depend on the samples that are shown."""


@dataclass(frozen=True)
class Found:
    """Directions in a space of codes, the strongest first.

    vectors: (K, D), of length 1; of either sign, the one whose largest entry is positive. shares: (K,), of the whole
    variance or of all squared weights, 0 to 1. spreads: (K,), standard deviations of the codes along them, which a walk
    is measured in. straight: (K,), how much of the variance a linear function of the latents explains, 0 to 1, where
    directions had to be carried back to latents; else None. of: what was taken apart, in words.
    """

    of: str
    vectors: Tensor
    shares: Tensor
    spreads: Tensor
    straight: Tensor | None = None


def signed(vectors: Tensor) -> Tensor:
    """The vectors (K, D) with length 1 and the sign that makes their largest entry positive."""
    vectors = vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1e-30)
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * largest.sign()


def spreads(space: Space, vectors: Tensor) -> Tensor:
    """Standard deviation of the space's codes along each of the vectors (K, D): (K,)."""
    along = [space.rows(codes).double().cpu() @ vectors.T for codes in space.codes(_MEASURED, SEED)]
    return torch.cat(along).std(0)
