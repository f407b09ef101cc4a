"""What changes with the images seen: learning rate, betas, half-life; and the limit of a gradient."""

import math

import pytest
import torch
from gandist_optimizers import Adam

from gandist import Anneal, Schedule
from gandist.config.schema import Ema
from gandist.training.smoothing import Smoothing
from gandist.training.state import State
from gandist.training.surroundings import Surroundings
from tests import tiny


def test_a_learning_rate_falls_to_its_floor():
    line = Schedule(decay="linear", hold=0.5, floor=0.2)
    assert [line.factor(images, 100) for images in (0, 50, 75, 100)] == pytest.approx([1, 1, 0.6, 0.2])
    curve = Schedule(decay="cosine", floor=0.25)
    assert [curve.factor(images, 100) for images in (0, 50, 100)] == pytest.approx([1, 0.625, 0.25])
    assert Schedule(floor=0.5).factor(100, 100) == 1


@pytest.mark.parametrize(("shape", "half"), [("linear", 3.0), ("cosine", 3.0)])
def test_annealing(shape, half: float):
    way = Anneal(to=1.0, over=100, begin=50, shape=shape)
    assert [way.value(5.0, images) for images in (0, 50, 100, 150, 999)] == pytest.approx([5, 5, half, 1, 1])
    quarter = 0.25 if shape == "linear" else 0.5 * (1 - math.cos(math.pi / 4))
    assert way.value(5.0, 75) == pytest.approx(5 - 4 * quarter)


def test_betas_follow_the_images_seen_in_the_running_optimizer():
    way = {"to": 0.9, "over": 64, "shape": "linear"}
    optimizer = {"name": "adam", "betas": [0.0, 0.99], "anneal_beta2": way}
    state = State(tiny.config(optimizer={"generator": optimizer}), tiny.view(None).facts, Surroundings(None))  # type: ignore[arg-type]
    player = state.players["generator"]
    for images, beta2 in ((0, 0.99), (32, 0.945), (64, 0.9)):
        player.schedule(images)
        assert player.optimizer.param_groups[0]["betas"] == pytest.approx((0.0, beta2))
    assert Adam().settings(10) == {}


def test_the_half_life_follows_the_images_seen():
    ema = Ema(half_life=100, ramp_up=0.0, anneal=Anneal(to=300, over=1000, shape="linear"))
    smoothing = Smoothing(torch.nn.Linear(1, 1), ema)
    assert smoothing.decay(50, 0) == pytest.approx(0.5 ** (50 / 100))
    assert smoothing.decay(50, 500) == pytest.approx(0.5 ** (50 / 200))
    assert smoothing.decay(50, 5000) == pytest.approx(0.5 ** (50 / 300))


@pytest.mark.parametrize(("clip", "moved"), [(None, 5.0), (0.5, 0.5), (50.0, 5.0)])
def test_a_gradient_is_clipped_to_its_limit(clip: float | None, moved: float):
    optimizer = {"name": "sgd", "lr": 1.0, "clip": clip}
    config = tiny.config(optimizer={"discriminator": optimizer})
    player = State(config, tiny.view(None).facts, Surroundings(None)).players["discriminator"]  # type: ignore[arg-type]
    before = [parameter.detach().clone() for parameter in player.network.parameters()]
    weight, bias = player.network.parameters()
    weight.grad, bias.grad = torch.tensor([[3.0, 0.0]]), torch.tensor([4.0])
    player.step()
    gap = [(one - old).flatten() for one, old in zip(player.network.parameters(), before, strict=True)]
    assert torch.cat(gap).norm().item() == pytest.approx(moved, rel=1e-5)
