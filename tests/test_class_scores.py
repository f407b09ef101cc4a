"""Scores that go by classes: who knows the class of a sample, and what is said where nobody does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from stripes import Stripes
from tiny import config as tiny_config
from torch import Tensor, nn

from gandist import ConfigError, Source
from gandist.config.check import check
from gandist.config.resolve import resolve
from gandist.evaluation.evaluator import Evaluator
from gandist.evaluation.metrics import validate
from gandist.training.sampling import can_heed_labels, heeds_labels
from tests.ranks import on_ranks

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


class Muddled(Stencil):
    """Gives what it is asked for to class 0 only; of the others it makes each other's."""

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return super().forward(latents, torch.tensor([0, 2, 1])[labels])


class WithTest(Stripes):
    """Has labelled samples that no training sees, all of class 1."""

    def held_out(self) -> Source:
        return Ones(130, "ones")


class Ones(Stripes):
    def read(self, indices) -> dict[str, Tensor]:
        return super().read([3 * (index % 20) + 1 for index in indices])


def test_a_classifier_of_good_samples_knows_real_images_and_one_of_muddled_ones_takes_them_for_others():
    cas = evaluator("classification-accuracy", count=200)
    good, muddled = (cas.measure({"generator": one}, 0) for one in (Stencil(noise=0.1), Muddled(noise=0.1)))
    assert good["classification_accuracy"] > 0.95
    assert good["classification_accuracy_real"] > 0.95
    # Class 0 is a third.
    assert muddled["classification_accuracy"] == pytest.approx(1 / 3, abs=0.15)
    assert cas.measure({"generator": Stencil(noise=0.1)}, 0) == good


def test_it_is_tested_on_what_was_held_out_if_there_is_such():
    cas = evaluator("classification-accuracy", count=200, source=WithTest(fingerprint="with a test"))
    assert cas.measure({"generator": Muddled(noise=0.1)}, 0)["classification_accuracy"] < 0.25


def test_samples_without_labels_are_refused_even_where_the_classes_can_be_seen():
    cas = evaluator("classification-accuracy", features="classifier")
    with pytest.raises(ConfigError, match=r"classification-accuracy needs samples with classes.*conditioning"):
        cas.measure({"generator": Blind()}, 0)
    with pytest.raises(ConfigError, match=r"classification-accuracy needs samples with classes.*conditioning"):
        checked({"name": "dcgan"}, metrics=["classification-accuracy"])


def _measure_on_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    for world in (3, 2):
        if rank >= world:
            break
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting-{world}", rank=rank, world_size=world)
        found = evaluator("classification-accuracy", count=100).measure({"generator": Stencil()}, 7)
        Path(folder, f"{world}-{rank}.json").write_text(json.dumps(found))
        dist.barrier()
        dist.destroy_process_group()
    # Without the interpreter's teardown, in which a thread of gloo that still runs aborts the process now and then.
    os._exit(0)


def test_the_accuracy_is_the_same_on_one_two_and_three_ranks(tmp_path: Path):
    alone = evaluator("classification-accuracy", count=100).measure({"generator": Stencil()}, 7)
    on_ranks(3, _measure_on_rank, str(tmp_path))
    for world in (2, 3):
        for rank in range(world):
            assert json.loads((tmp_path / f"{world}-{rank}.json").read_text()) == pytest.approx(alone, abs=1e-6)
