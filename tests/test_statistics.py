from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from gandist_metrics.modes import Modes
from gandist_metrics.moments import frechet_distance, moment_sums, moments
from torch import Tensor


def gaussian(rng: np.random.Generator, width: int) -> tuple[Tensor, Tensor]:
    root = rng.normal(size=(width, width))
    return torch.tensor(rng.normal(size=width)), torch.tensor(root @ root.T / width)


def test_frechet_distance_is_that_of_the_matrix_square_root():
    rng = np.random.default_rng(0)
    for width in (1, 5, 40):
        (m1, c1), (m2, c2) = gaussian(rng, width), gaussian(rng, width)
        root = scipy.linalg.sqrtm(c1.numpy() @ c2.numpy()).real
        expected = float(((m1 - m2) ** 2).sum() + np.trace((c1 + c2).numpy() - 2 * root))
        assert frechet_distance(m1, c1, m2, c2) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_known_gaussians():
    # Independent coordinates: the sum of (m₁ - m₂)² + (s₁ - s₂)².
    s1, s2 = torch.tensor([1.0, 2.0, 0.0]).double(), torch.tensor([3.0, 0.5, 0.0]).double()
    shift = torch.tensor([1.0, 0.0, 2.0]).double()
    distance = frechet_distance(torch.zeros(3).double(), s1.square().diag(), shift, s2.square().diag())
    assert distance == pytest.approx(5 + 4 + 2.25)


def test_frechet_distance_to_itself_is_zero_even_when_singular():
    features = torch.randn(20, 64, generator=torch.Generator().manual_seed(0))
    mean, covariance = moments(moment_sums(features), 20)
    assert frechet_distance(mean, covariance, mean, covariance) < 1e-3


def test_moments_add_up_over_parts():
    features = 100 + torch.randn(57, 6, generator=torch.Generator().manual_seed(0))
    mean, covariance = moments(sum(moment_sums(part) for part in features.split([20, 30, 7])), 57)
    wide = features.double().numpy()
    np.testing.assert_allclose(mean, wide.mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(wide, rowvar=False), rtol=1e-8, atol=1e-9)


def test_modes_are_those_of_a_search_by_hand():
    rng = np.random.default_rng(0)
    centers = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    points = rng.uniform(-0.5, 1.5, (500, 2)).astype(np.float32)
    nearest, good, hit = [0] * 4, 0, set()
    for point in points.astype(float):
        distances = [float(np.hypot(*(point - center))) for center in centers]
        best = int(np.argmin(distances))
        nearest[best] += 1
        if distances[best] <= 3 * 0.1:
            good += 1
            hit.add(best)
    shares = np.array(nearest) / 500
    divergence = sum(share * np.log(share * 4) for share in shares if share)
    modes = Modes(centers, 0.1)
    result = modes.result(modes.sums(torch.from_numpy(points)), 500)
    expected = {"modes_hit": len(hit), "modes": 4, "good": good / 500, "reverse_kl": divergence}
    assert result == pytest.approx(expected)
    assert result["modes_hit"] == 3
