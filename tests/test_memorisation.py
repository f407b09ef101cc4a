"""Copies of training images among samples are found, and fresh real images are not taken for copies."""

from __future__ import annotations

import pytest
import torch
from gandist_datasets.digits import Digits
from tiny import config as tiny_config
from torch import Tensor

from gandist import Facts, Source
from gandist.evaluation.evaluator import Evaluator
from gandist.evaluation.fitting import order

pytestmark = pytest.mark.arithmetic


class Part(Source):
    """Some samples of another source."""

    def __init__(self, source: Source, indices: Tensor, name: str):
        whole = source.facts
        self.source, self.chosen = source, indices
        self.facts = Facts(whole.shape, whole.classes, len(indices), f"{whole.fingerprint} {name}")

    def read(self, indices) -> dict[str, Tensor]:
        return self.source.read(self.chosen[torch.as_tensor(list(indices))].tolist())


@pytest.fixture(scope="module")
def digits() -> tuple[Part, Part]:
    """Digits to train on, and fresh ones."""
    source = Digits(size=28).open()
    shuffled = order(source, "memorisation")
    return Part(source, shuffled[:1200], "training"), Part(source, shuffled[1200:], "fresh")


def memorised(training: Source, samples: Tensor, features: str) -> dict[str, float]:
    section = {"metrics": ["memorisation"], "features": features, "count": len(samples)}
    return Evaluator(tiny_config(evaluate=section), training, torch.device("cpu")).score(samples.split(100))


def disturbed(images: Tensor) -> Tensor:
    """As a generator that memorises gives them back: every pixel off by up to 2."""
    noise = torch.randint(-2, 3, images.shape, generator=torch.Generator().manual_seed(0))
    return (images + noise).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("features", ["pixels", pytest.param("classifier", marks=pytest.mark.slow)])
def test_planted_copies_are_found_and_fresh_images_are_not(digits: tuple[Part, Part], features: str):
    training, fresh = digits
    unseen = fresh.read(range(len(fresh)))["real"]
    honest = memorised(training, unseen, features)
    assert honest["memorised"] <= 0.01
    assert honest["nearer"] == pytest.approx(0.5, abs=0.05)
    copies = training.read(range(0, 1200, 6))["real"]
    for planted in (copies, disturbed(copies)) if features == "pixels" else (copies,):
        mixed = memorised(training, torch.cat([unseen[:400], planted]), features)
        found = (
            mixed["memorised"] * (400 + len(planted)) - memorised(training, unseen[:400], features)["memorised"] * 400
        )
        assert found >= 0.95 * len(planted)
        assert mixed["nearer"] > 0.6


def test_noise_is_not_memorised(digits: tuple[Part, Part]):
    noise = torch.randint(0, 256, (200, 1, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    scores = memorised(digits[0], noise, "pixels")
    assert scores["memorised"] == 0
    assert scores["nearer"] < 0.01
