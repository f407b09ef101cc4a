"""L1 and structural similarity of translations against formulas written out by hand."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from gandist_metrics.translation import L1, Ssim, ssim
from torch import Tensor, nn

from gandist import ConfigError, Examined, Facts, Loss
from gandist.testing.tiny import BaseLoss, RandomSamples, RandomSource


class Darkens(Loss):
    """Translates to b by halving the distance to black."""

    name: ClassVar[str] = "darkens"
    targets: ClassVar[tuple[str, ...]] = ("b",)

    def translate(self, players: Any, images: Tensor, to: str) -> Tensor:
        return (images + 1) / 2 - 1


def wang(x: np.ndarray, y: np.ndarray) -> float:
    """Equation 13 of Wang et al. 2004, window by window, of images (H, W) in [0, 1]; as scikit-image computes it with
    gaussian_weights=True, sigma=1.5, use_sample_covariance=False and data_range=1."""
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    found = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            one, other = (image[top : top + 11, left : left + 11] for image in (x, y))
            mx, my = (window * one).sum(), (window * other).sum()
            vx, vy = (window * (one - mx) ** 2).sum(), (window * (other - my) ** 2).sum()
            covariance = (window * (one - mx) * (other - my)).sum()
            c1, c2 = 0.01**2, 0.03**2
            found.append((2 * mx * my + c1) * (2 * covariance + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(found))


def test_ssim():
    generator = np.random.default_rng(0)
    x = generator.random((2, 3, 17, 14))
    y = (x + 0.2 * generator.standard_normal(x.shape)).clip(0, 1)
    expected = [
        np.mean([wang(*pair) for pair in zip(one, other, strict=True)]) for one, other in zip(x, y, strict=True)
    ]
    assert ssim(torch.from_numpy(x), torch.from_numpy(y)).tolist() == pytest.approx(expected, abs=1e-12)
    assert ssim(torch.from_numpy(x), torch.from_numpy(x)).tolist() == pytest.approx([1, 1], abs=1e-12)
    flat = torch.full((1, 1, 12, 12), 0.5)
    assert ssim(flat, flat).item() == pytest.approx(1)


def examined(loss: Loss) -> Examined:
    return Examined({"generator": nn.Identity()}, loss, Facts((1, 12, 12), 0, 5, "any"))


def test_scores_of_a_translation():
    rows = RandomSource(Facts((1, 12, 12), 0, 5, "any"), entries=("a", "b")).read(range(5))
    a, b = (rows[name].double().numpy() for name in "ab")
    made = np.round(a / 2)
    l1 = L1().grade(L1().answers(rows, examined(Darkens())))
    # A half is rounded to the even neighbour by both, but for float32: at most one level.
    assert l1["l1"] == pytest.approx(np.abs(made - b).mean() / 255, abs=0.5 / 255)
    assert l1["l1_identity"] == pytest.approx(np.abs(a - b).mean() / 255, abs=1e-6)
    likeness = Ssim().grade(Ssim().answers(rows, examined(Darkens())))
    expected = np.mean([wang(a[row, 0] / 255, b[row, 0] / 255) for row in range(5)])
    assert likeness["ssim_identity"] == pytest.approx(expected, abs=1e-6)


def test_who_cannot_be_scored():
    rows = RandomSource(Facts((1, 12, 12), 0, 5, "any"), entries=("a", "b")).read([0])
    with pytest.raises(ConfigError, match="l1 compares translations to b, which base-loss does not make"):
        L1().answers(rows, examined(BaseLoss()))
    with pytest.raises(ConfigError, match="to a, which darkens does not make"):
        L1(to="a").answers(rows, examined(Darkens()))
    # Asked by `check`, before anything is trained.
    assert L1().unable(Darkens()) is None
    assert "does not make" in (L1(to="a").unable(Darkens()) or "")
    assert "needs held-out pairs" in (L1().unfit(RandomSamples().open()) or "")
