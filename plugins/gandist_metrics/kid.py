"""Kernel distance between features (Bińkowski et al. 2018, section 4.2)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from gandist import Compared, Metric

_CHUNK = 4096


def kernel_sums(rows: Tensor, others: Tensor) -> Tensor:
    """Sums over `others` (O, D) of the kernel (x·y / D + 1)³ with each of the rows (R, D): float64 (R,)."""
    wide, total = rows.double(), torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    for chunk in others.split(_CHUNK):
        total += (wide @ chunk.double().T).div_(rows.shape[1]).add_(1).pow_(3).sum(1)
    return total


def kernel_selves(rows: Tensor) -> Tensor:
    """The kernel of each row with itself: float64 (R,)."""
    return (rows.double().square().sum(1) / rows.shape[1] + 1).pow(3)


def discrepancy(within: Tensor, across: Tensor, other_within: Tensor, other_across: Tensor) -> tuple[float, float]:
    """Unbiased squared maximum mean discrepancy over all pairs, and its standard error by the jackknife.

    within (N,): each sample's kernel sum over the others of its side; across (N,): over the other side. The second pair
    (M,) is that of the other side.
    """
    n, m = len(within), len(other_within)
    own, other, cross = within.sum(), other_within.sum(), across.sum()
    mean, other_mean, cross_mean = own / (n * (n - 1)), other / (m * (m - 1)), cross / (n * m)
    variance = 0.0
    for count, total, each, away, rest, sides in (
        (n, own, within, across, other_mean, m),
        (m, other, other_within, other_across, mean, n),
    ):
        # What the estimate is without each sample of this side in turn.
        pairs = max(1, (count - 1) * (count - 2))
        left = (total - 2 * each) / pairs + rest - 2 * (cross - away) / ((count - 1) * sides)
        variance += float((count - 1) / count * (left - left.mean()).square().sum())
    return float(mean + other_mean - 2 * cross_mean), math.sqrt(variance)


class Kid(Metric):
    """Squared maximum mean discrepancy with a cubic kernel, unbiased, over all pairs, with its standard error."""

    name: ClassVar[str] = "kid"
    scores: ClassVar[tuple[str, ...]] = ("kid", "kid_error")
    floors: ClassVar[tuple[str, ...]] = ("kid",)
    gathers: ClassVar[tuple] = ("features",)

    def compare(self, compared: Compared) -> dict[str, float]:
        """`kid`, and `kid_error`, one standard deviation of it over draws of samples and reference."""
        fake, real = compared.fake.features, compared.real.features
        assert fake is not None
        assert real is not None

        def sums(rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
            def work(block: slice) -> Tensor:
                part = rows[block]
                within = kernel_sums(part, rows) - kernel_selves(part)
                return torch.stack([within, kernel_sums(part, others)], 1)

            within, across = compared.by_block(len(rows), work).unbind(1)
            return within, across

        value, error = discrepancy(*sums(fake, real), *sums(real, fake))
        return {"kid": value, "kid_error": error}
