"""The smoothed generator: its half-life counts images, and its buffers are copies."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gandist.config.schema import Ema
from gandist.testing.tiny import BaseLoss
from gandist.training.smoothing import Smoothing
from gandist.training.state import State
from gandist.training.surroundings import Surroundings
from tests.small_runs import config


def network(value: float) -> nn.Module:
    made = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for parameter in made.parameters():
        nn.init.constant_(parameter, value)
    return made


def followed(ema: Ema, images: int, times: int, seen: int = 0) -> float:
    """Where an average that began at 0 is when the weights were 1 for `times` batches of `images`."""
    generator = network(0.0)
    smoothing = Smoothing(generator, ema)
    for parameter in generator.parameters():
        nn.init.ones_(parameter)
    for number in range(times):
        smoothing.follow(images, seen + (number + 1) * images)
    values = {round(value, 5) for parameter in smoothing.module.parameters() for value in parameter.flatten().tolist()}
    assert len(values) == 1
    return values.pop()


@pytest.mark.parametrize(("images", "times"), [(100, 1), (50, 2), (10, 10)])
def test_after_its_half_life_the_average_is_half_way_whatever_the_batch(images: int, times: int):
    assert followed(Ema(half_life=100, ramp_up=0), images, times) == pytest.approx(0.5, abs=1e-5)


def test_the_half_life_grows_with_the_images_seen():
    """A twentieth of them at first, so that the beginning is forgotten; the full one later."""
    ema = Ema(half_life=100, ramp_up=0.05)
    assert followed(ema, 10, 1, seen=190) == pytest.approx(1 - 0.5 ** (10 / (0.05 * 200)), abs=1e-5)
    assert followed(ema, 50, 2, seen=10_000) == pytest.approx(0.5, abs=1e-5)
    assert followed(ema, 10, 1) == pytest.approx(1.0, abs=1e-5)


def test_the_average_of_weights_that_stay_is_those_weights():
    generator = network(0.7)
    smoothing = Smoothing(generator, Ema(half_life=30))
    for number in range(20):
        smoothing.follow(8, 8 * number)
    for mine, theirs in zip(smoothing.module.parameters(), generator.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_buffers_are_copied_whole_numbers_too():
    generator = network(1.0)
    smoothing = Smoothing(generator, Ema(half_life=1000))
    generator(torch.randn(6, 2))
    smoothing.follow(6, 6)
    for mine, theirs in zip(smoothing.module.buffers(), generator.buffers(), strict=True):
        assert torch.equal(mine, theirs)
    assert int(smoothing.module[1].num_batches_tracked) == 1  # type: ignore[index]
    assert not smoothing.module.training
    assert not any(parameter.requires_grad for parameter in smoothing.module.parameters())


def test_without_a_half_life_the_generator_itself_is_sampled(tmp_path):
    run = config(BaseLoss(), train={"ema": {"half_life": 0}})
    state = State(run, run.dataset.open().facts, Surroundings(tmp_path))
    assert state.generator is state.networks["generator"]
    assert not any(name.startswith("smoothed") for name in state.tensors())
