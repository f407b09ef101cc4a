"""How different samples are from each other, and how far from given ones, in a space that costs little to get to."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

SIDE = 16
"""Images are averaged down to at most this many pixels a side, so that the cost does not depend on their size."""
WIDTH = 0.25
"""Samples count as alike up to about this share of the usual distance between real ones."""


def features(samples: Tensor) -> Tensor:
    """uint8 images (B, C, H, W), or points (B, D), without those that are not finite → float32 (B, F)."""
    if samples.dim() == 4:
        height, width = samples.shape[2:]
        samples = adaptive_avg_pool2d(samples.float().div_(255), (min(height, SIDE), min(width, SIDE))).flatten(1)
    return samples.float()[torch.isfinite(samples).all(1)]


def spread(rows: Tensor) -> float:
    """Root of the mean squared distance between two different rows of (B, F), B ≥ 2."""
    centred = rows.double() - rows.double().mean(0)
    return float((2 * centred.square().sum() / (len(rows) - 1)).sqrt())


def effective_number(rows: Tensor, scale: float) -> float:
    """How many different samples the rows (B, F) are worth: 1 if all are the same, B if no two are alike.

    The Vendi score (Friedman and Dieng 2023, definition 3.1): exp of the entropy of the eigenvalues of K/B, here with
    the kernel exp(-d²/2s²), s = `WIDTH` × scale. scale: `spread` of real samples.
    """
    if len(rows) < 2:
        return float(len(rows))
    distances = torch.cdist(rows.double(), rows.double(), compute_mode="donot_use_mm_for_euclid_dist")
    kernel = torch.exp(-0.5 * (distances / max(WIDTH * scale, 1e-12)).square())
    return shares_worth(torch.linalg.eigvalsh(kernel / len(rows)))


def shares_worth(shares: Tensor) -> float:
    """How many equal shares are as uneven as these, which add up to 1: exp of their entropy."""
    return float(torch.special.entr(shares.double().clamp_min(0)).sum().exp())


def nearest(rows: Tensor, others: Tensor, own: slice | None = None) -> Tensor:
    """Distance of each row of (B, F) to the nearest of `others` (N, F), (B,), to about 1e-3 of the rows' length.

    own: where the rows lie among the others, if they do; none is its own neighbour.
    """
    distances = torch.cdist(rows, others, compute_mode="use_mm_for_euclid_dist")
    if own is not None:
        distances[torch.arange(len(rows)), torch.arange(len(others))[own]] = torch.inf
    return distances.amin(1)
