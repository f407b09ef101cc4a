"""Scores that go by classes: who knows the class of a sample, and what is said where nobody does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stripes import Stripes
from tiny import config as tiny_config
from torch import Tensor, nn

from gandist import ConfigError
from gandist.config.check import check
from gandist.config.resolve import resolve
from gandist.evaluation.evaluator import Evaluator
from gandist.evaluation.metrics import validate
from gandist.training.sampling import can_heed_labels, heeds_labels

pytestmark = pytest.mark.arithmetic

CPU = torch.device("cpu")


class Stencil(nn.Module):
    """Draws stripes of the class that it is asked for, as far as it has `learnt` them."""

    def __init__(self, learnt: float = 1.0, noise: float = 0.3):
        super().__init__()
        self.patterns = nn.Embedding(3, 144)
        self.noise = noise
        with torch.no_grad():
            images = Stripes().read([0, 1, 2])["real"].float().div(127.5).sub(1).flatten(1)
            self.patterns.weight.copy_(learnt * images)

    def draw(self, noise: Any, n: int) -> Tensor:
        return noise.normal(n, 144)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return (self.patterns(labels) + self.noise * latents).view(-1, 1, 12, 12)


class Blind(Stencil):
    """The same without a look at the label."""

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return super().forward(latents, torch.zeros_like(labels))


def evaluator(*metrics: Any, features: str = "pixels", count: int = 90, source: Stripes | None = None) -> Evaluator:
    section = {"metrics": metrics, "features": features, "count": count}
    return Evaluator(tiny_config(evaluate=section), source or Stripes(), CPU)


def checked(architecture: dict[str, Any], **evaluate: Any) -> None:
    given = {
        "run": {"name": "classes"},
        "dataset": {"name": "digits", "size": 32},
        "architecture": architecture,
        "loss": {"name": "hinge"},
        "evaluate": {"every": 10, **evaluate},
    }
    check(resolve(given), None, validate)


@pytest.mark.parametrize("metric", ["class-frechet", "diversity"])
def test_check_asks_who_knows_the_classes(metric: str):
    plain = {"name": "sngan-resnet", "conditioning": "none"}
    with pytest.raises(ConfigError, match=rf"{metric} needs samples with classes.* pixels does not know.*classifier"):
        checked(plain, metrics=[metric], features="pixels")
    checked(plain, metrics=[metric], features="classifier")
    # Freshly built, all its classes have the same gains and biases.
    checked({"name": "sngan-resnet", "conditioning": "projection"}, metrics=[metric], features="pixels")


def test_a_generator_that_cannot_heed_labels_is_told_from_one_that_does_not_yet():
    facts = Stripes().facts
    fresh, blind = Stencil(learnt=0), Blind()
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    assert not heeds_labels(fresh, facts, CPU)
    assert can_heed_labels(fresh, facts, CPU)
    assert not can_heed_labels(blind, facts, CPU)
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh.state_dict().items())


def test_a_run_is_refused_before_a_sample_is_drawn():
    scores = evaluator("class-frechet")
    with pytest.raises(ConfigError, match=r"evaluate.metrics: class-frechet needs samples with classes"):
        scores.measure({"generator": Blind()}, 0)
    with pytest.raises(ConfigError, match=r"evaluate.metrics: class-frechet needs samples with classes"):
        scores.score([torch.zeros(4, 1, 12, 12, dtype=torch.uint8)])
    assert scores.measure({"generator": Stencil()}, 0)["classes_missing"] == 0
