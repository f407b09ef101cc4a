"""Every metric against its published formula, written down here once more in another way."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import scipy.special
import scipy.stats
import torch
from gandist_metrics.class_frechet import ClassFrechet
from gandist_metrics.density_coverage import Coverage, Density
from gandist_metrics.diversity import Diversity
from gandist_metrics.frechet import Frechet
from gandist_metrics.inception_score import InceptionScore
from gandist_metrics.kid import Kid
from gandist_metrics.moments import moments
from gandist_metrics.precision_recall import Precision, Recall
from gandist_metrics.spectral import Spectral, radial_spectrum
from gandist_metrics.stacked_modes import StackedModes
from torch import Tensor

from gandist import Compared, ConfigError, Facts, Metric, Scored

FACTS = Facts((1, 8, 8), 3, 100, "formulas")


def features(count: int, width: int, seed: int, spread: float = 1.0, shift: float = 0.0) -> Tensor:
    rng = np.random.default_rng(seed)
    root = np.random.default_rng(99).normal(size=(width, width)) / np.sqrt(width)
    return torch.from_numpy((shift + spread * rng.normal(size=(count, width)) @ root).astype(np.float32))


def compare(metric: Metric, fake: Tensor, real: Tensor, **rows: Tensor) -> dict[str, float]:
    """rows: `labels` and `real_labels`, or `logits` of the samples."""
    own = {name: value for name, value in rows.items() if not name.startswith("real_")}
    theirs = {"labels": rows["real_labels"]} if "real_labels" in rows else {}
    return metric.compare(Compared(Scored(features=fake, **own), Scored(features=real, **theirs), {}, FACTS, False))


def by_sums(metric: Metric, known: dict[str, Tensor], batches: list[Scored], count: int) -> dict[str, float]:
    total = torch.stack([metric.sums(batch, known) for batch in batches]).sum(0)
    assert total.dtype == torch.float64
    return metric.result(total, count, known)


def frechet_by_scipy(one: np.ndarray, other: np.ndarray) -> float:
    root = scipy.linalg.sqrtm(np.cov(one, rowvar=False) @ np.cov(other, rowvar=False)).real
    apart = ((one.mean(0) - other.mean(0)) ** 2).sum()
    return float(apart + np.trace(np.cov(one, rowvar=False) + np.cov(other, rowvar=False) - 2 * root))


def test_frechet_is_what_scipys_matrix_square_root_gives():
    fake, real = features(700, 64, 0, 1.1, 0.1), features(900, 64, 1)
    mean, covariance = torch.from_numpy(real.numpy().astype(float).mean(0)), torch.from_numpy(np.cov(real.T))
    parts = [Scored(features=part) for part in fake.split(64)]
    found = by_sums(Frechet(), {"mean": mean, "covariance": covariance}, parts, 700)
    expected = frechet_by_scipy(fake.numpy().astype(float), real.numpy().astype(float))
    assert found["frechet"] == pytest.approx(expected, rel=1e-6)


def test_frechet_of_gaussians_is_the_closed_form_within_sampling_error():
    generator = torch.Generator().manual_seed(0)
    scale, shift = torch.linspace(0.5, 2, 8).double(), torch.linspace(0, 1, 8).double()
    points = torch.randn(40_000, 8, generator=generator, dtype=torch.float64) * scale + shift
    known = {"mean": torch.zeros(8).double(), "covariance": torch.eye(8).double()}
    found = by_sums(Frechet(), known, [Scored(features=points)], 40_000)["frechet"]
    assert found == pytest.approx(float(shift.square().sum() + (scale - 1).square().sum()), rel=0.02)


def polynomial_mmd(fake: np.ndarray, real: np.ndarray) -> float:
    """Unbiased, with the kernel (x·y/D + 1)³."""
    width = fake.shape[1]
    own, other, cross = ((a @ b.T / width + 1) ** 3 for a, b in ((fake, fake), (real, real), (fake, real)))
    n, m = len(fake), len(real)
    within = (own.sum() - np.trace(own)) / (n * (n - 1)) + (other.sum() - np.trace(other)) / (m * (m - 1))
    return within - 2 * cross.mean()


def test_kid_is_the_unbiased_estimate_over_all_pairs_and_its_error_the_jackknifes():
    # More rows than a block holds.
    fake, real = features(700, 20, 0, 1.2), features(600, 20, 1)
    found = compare(Kid(), fake, real)
    wide, other = fake.numpy().astype(float), real.numpy().astype(float)
    assert found["kid"] == pytest.approx(polynomial_mmd(wide, other), rel=1e-6)
    few, fewer = wide[:40], other[:30]
    without = [np.delete(few, index, 0) for index in range(40)]
    left = np.array([polynomial_mmd(rows, fewer) for rows in without])
    rest = np.array([polynomial_mmd(few, np.delete(fewer, index, 0)) for index in range(30)])
    variance = sum((len(part) - 1) / len(part) * ((part - part.mean()) ** 2).sum() for part in (left, rest))
    small = compare(Kid(), fake[:40], real[:30])
    assert small["kid_error"] == pytest.approx(np.sqrt(variance), rel=1e-6)


def test_kid_has_no_bias_and_its_error_is_that_of_repeated_draws():
    same = [compare(Kid(), features(80, 6, 2 * seed), features(80, 6, 2 * seed + 1)) for seed in range(150)]
    values = np.array([one["kid"] for one in same])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    apart = [compare(Kid(), features(80, 6, 2 * seed, shift=1.0), features(80, 6, 2 * seed + 1)) for seed in range(150)]
    deviation = np.std([one["kid"] for one in apart])
    assert np.sqrt(np.mean([one["kid_error"] ** 2 for one in apart])) == pytest.approx(deviation, rel=0.25)
    # Of equal distributions the jackknife says too much, never too little.
    assert np.sqrt(np.mean([one["kid_error"] ** 2 for one in same])) > values.std()


def radii(rows: np.ndarray, neighbours: int) -> np.ndarray:
    """As prdc: the (k+1)-th smallest distance, counting the one to itself."""
    return np.sort(scipy.spatial.distance.cdist(rows, rows), 1)[:, neighbours]


@pytest.mark.parametrize("neighbours", [3, 5])
def test_precision_recall_density_and_coverage_are_prdcs(neighbours: int):
    fake, real = features(1100, 12, 0, 1.3, 0.4), features(600, 12, 1)
    wide, other = fake.numpy().astype(float), real.numpy().astype(float)
    distances = scipy.spatial.distance.cdist(other, wide)
    around_real, around_fake = radii(other, neighbours)[:, None], radii(wide, neighbours)[None]
    expected = {
        Precision: (distances < around_real).any(0).mean(),
        Recall: (distances < around_fake).any(1).mean(),
        Density: (distances < around_real).sum(0).mean() / neighbours,
        Coverage: (distances.min(1) < around_real[:, 0]).mean(),
    }
    for metric, value in expected.items():
        assert 0.1 < value < 1.5
        (found,) = compare(metric(neighbours=neighbours), fake, real).values()
        assert found == pytest.approx(value, rel=1e-4)


def test_neighbours_far_from_the_origin_are_the_same():
    fake, real = features(300, 12, 0), features(300, 12, 1)
    near = [compare(metric(), fake, real) for metric in (Precision, Recall, Density, Coverage)]
    far = [compare(metric(), fake + 3000, real + 3000) for metric in (Precision, Recall, Density, Coverage)]
    for one, other in zip(near, far, strict=True):
        # float32 itself has moved the points by up to 1e-4 there.
        assert one == pytest.approx(other, abs=0.02)


def test_inception_score_is_the_published_one_in_ten_parts():
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(1003, 7)) * 3).float()
    found = compare(InceptionScore(), torch.zeros(1003, 1), torch.zeros(1, 1), logits=logits)
    shares = scipy.special.softmax(logits.numpy().astype(float), 1)
    parts = [shares[part * 1003 // 10 : (part + 1) * 1003 // 10] for part in range(10)]
    scores = [np.exp(np.mean([scipy.stats.entropy(row, part.mean(0)) for row in part])) for part in parts]
    assert found["inception_score"] == pytest.approx(np.mean(scores), rel=1e-6)
    assert found["inception_score_error"] == pytest.approx(np.std(scores), rel=1e-4)


def test_frechet_within_classes():
    fake, real = features(400, 5, 0, 1.2), features(500, 5, 1)
    labels, real_labels = torch.arange(400) % 3, torch.arange(500) % 3
    found = compare(ClassFrechet(), fake, real, labels=labels, real_labels=real_labels)
    each = [
        frechet_by_scipy(fake[labels == label].numpy().astype(float), real[real_labels == label].numpy().astype(float))
        for label in range(3)
    ]
    assert [found[f"class_frechet/{label}"] for label in range(3)] == pytest.approx(each, rel=1e-4)
    assert found["class_frechet"] == pytest.approx(np.mean(each), rel=1e-4)
    assert found["class_frechet_worst"] == pytest.approx(max(each), rel=1e-4)
    # Without labels it is what the classifier sees, here two of three classes.
    logits = torch.nn.functional.one_hot(labels.clamp(max=1), 3).float()
    seen = compare(ClassFrechet(), fake, real, logits=logits, real_labels=real_labels)
    assert seen["classes_missing"] == 1
    assert seen["class_frechet/0"] == pytest.approx(each[0], rel=1e-4)
    with pytest.raises(ConfigError, match="class-frechet needs samples with classes"):
        compare(ClassFrechet(), fake, real, real_labels=real_labels)


def test_diversity_is_the_mean_distance_within_a_class():
    fake, labels = features(700, 5, 0), torch.arange(700) % 3
    found = compare(Diversity(), fake, fake, labels=labels)
    each = [scipy.spatial.distance.pdist(fake[labels == label].numpy().astype(float)).mean() for label in range(3)]
    assert [found[f"diversity/{label}"] for label in range(3)] == pytest.approx(each, rel=1e-4)
    assert found["diversity"] == pytest.approx(np.mean(each), rel=1e-4)
    collapsed = compare(Diversity(), fake[:1].repeat(9, 1) + 1e-3, fake, labels=labels[:9])
    assert collapsed["diversity"] < 1e-2


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 12, 18), (1, 9, 9)])
def test_the_radial_spectrum_is_that_of_a_slow_search(shape: tuple[int, int, int]):
    images = torch.randint(0, 256, (2, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    _, height, width = shape
    smaller = min(height, width)
    found = radial_spectrum(images)
    for image, spectrum in zip(images.numpy(), found, strict=True):
        power = np.abs(np.fft.fft2(image / 127.5 - 1)) ** 2 / (height * width)
        rings: list[list[float]] = [[] for _ in range(smaller // 2)]
        for v in range(height):
            for u in range(width):
                down, right = min(v, height - v) / height, min(u, width - u) / width
                ring = round(float(np.hypot(down, right)) * smaller)
                if 1 <= ring <= smaller // 2:
                    rings[ring - 1].append(power[:, v, u].mean())
        assert spectrum.tolist() == pytest.approx([np.mean(ring) for ring in rings], rel=1e-9)


def test_spectral_distance_is_in_decibels():
    images = torch.randint(0, 256, (6, 1, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    batches, mean = [Scored(part) for part in images.split(4)], radial_spectrum(images).mean(0)
    assert by_sums(Spectral(), {"spectrum": mean}, batches, 6)["spectral"] == pytest.approx(0, abs=1e-9)
    assert by_sums(Spectral(), {"spectrum": 10 * mean}, batches, 6)["spectral"] == pytest.approx(10)


def test_stacked_modes_are_counted_by_triples():
    digits = np.random.default_rng(0).integers(0, 10, (500, 3))
    logits = torch.nn.functional.one_hot(torch.from_numpy(digits), 10).float().flatten(1)
    known = {"shares": torch.full((1000,), 1e-3).double()}
    found = by_sums(StackedModes(), known, [Scored(logits=part) for part in logits.split(64)], 500)
    counts = np.bincount(digits @ [100, 10, 1], minlength=1000)
    assert found["stacked_modes"] == (counts > 0).sum() == len({tuple(row) for row in digits.tolist()})
    assert found["stacked_kl"] == pytest.approx(scipy.stats.entropy(counts / 500, np.full(1000, 1e-3)))
    assert found["stacked_modes_all"] == 1000


def test_moments_of_single_precision_features_are_double():
    rows = features(50, 4, 0)
    mean, covariance = moments(Frechet().sums(Scored(features=rows), {}), 50)
    np.testing.assert_allclose(mean, rows.numpy().astype(float).mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(rows.numpy().astype(float), rowvar=False), rtol=1e-9)
