"""Mean and covariance from sums, and the Fréchet distance between two Gaussians, in float64."""

from __future__ import annotations

import torch
from torch import Tensor


def moment_sums(features: Tensor) -> Tensor:
    """Sums over rows x of (B, D) features: of x, then of x·xᵀ; float64 (D + D²,). Sums of parts add up."""
    wide = features.double()
    return torch.cat([wide.sum(0), (wide.T @ wide).flatten()])


def moments(sums: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) and unbiased covariance (D, D) of `count` ≥ 2 rows, from their `moment_sums`."""
    width = round((len(sums) + 0.25) ** 0.5 - 0.5)
    mean = sums[:width] / count
    scatter = sums[width:].view(width, width) - count * torch.outer(mean, mean)
    return mean, scatter / (count - 1)


def _root(matrix: Tensor) -> Tensor:
    """Symmetric square root of a positive semi-definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> float:
    """|m₁ - m₂|² + tr(C₁ + C₂ - 2 (C₁C₂)^½), squared Fréchet distance (Dowson & Landau 1982; Heusel et al. 2017).

    C₁C₂ has the eigenvalues of the symmetric C₁^½ C₂ C₁^½, so no complex roots appear where a covariance is singular.
    """
    root = _root(covariance)
    product = root @ other_covariance @ root
    values = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0)
    apart = (mean - other_mean).square().sum()
    distance = apart + covariance.trace() + other_covariance.trace() - 2 * values.sqrt().sum()
    return max(0.0, float(distance))
