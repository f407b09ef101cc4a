"""Losses and penalties against formulas written out by hand."""

import math

import pytest
import torch
from gandist_losses.gradient_penalty import GradientPenalty
from gandist_losses.hinge import Hinge
from gandist_losses.minimax import Minimax
from gandist_losses.non_saturating import NonSaturating
from gandist_losses.r1 import R1
from gandist_losses.wgan_gp import WassersteinGP
from pydantic import ValidationError
from torch import Tensor, nn

from gandist import Noise
from tests.turns import Bowl, Linear, Says, log_sigmoid, make_turn, mean

LOGITS = [-3.0, -0.5, 0.0, 0.7, 4.0]


def on_logits(loss, role: str, logits: list[float], dtype=torch.float64) -> tuple[float, list[float]]:
    """Value of a player's total and its gradient by the logits."""
    critic = Says(logits, dtype)
    total = loss.method(role)(make_turn(role, critic, torch.zeros(len(logits), 2, dtype=dtype)))["total"]
    total.backward()
    return total.item(), critic.logits.grad.tolist()


@pytest.mark.parametrize("loss", [Minimax(), NonSaturating()])
def test_the_discriminator_maximises_the_value_function(loss):
    value, _ = on_logits(loss, "discriminator", LOGITS)
    expected = -mean(log_sigmoid(x) for x in LOGITS) - mean(log_sigmoid(-x) for x in LOGITS)
    assert value == pytest.approx(expected, abs=1e-12)


def test_minimax_generator_minimises_log_of_one_minus_d():
    value, gradient = on_logits(Minimax(), "generator", LOGITS)
    assert value == pytest.approx(mean(log_sigmoid(-x) for x in LOGITS), abs=1e-12)
    # d log(1 - sigmoid(x)) / dx = -sigmoid(x): vanishes where the discriminator is sure of a fake.
    assert gradient == pytest.approx([-1 / (1 + math.exp(-x)) / len(LOGITS) for x in LOGITS], abs=1e-12)


def test_non_saturating_generator_maximises_log_d():
    value, gradient = on_logits(NonSaturating(), "generator", LOGITS)
    assert value == pytest.approx(-mean(log_sigmoid(x) for x in LOGITS), abs=1e-12)
    # d -log sigmoid(x) / dx = -sigmoid(-x): largest where the discriminator is sure of a fake.
    assert gradient == pytest.approx([-1 / (1 + math.exp(x)) / len(LOGITS) for x in LOGITS], abs=1e-12)


def test_only_minimax_saturates():
    _, saturated = on_logits(Minimax(), "generator", [-30.0])
    _, strong = on_logits(NonSaturating(), "generator", [-30.0])
    assert -1e-12 < saturated[0] < 0
    assert strong[0] == pytest.approx(-1)


@pytest.mark.parametrize("loss", [Minimax(), NonSaturating()])
@pytest.mark.parametrize("role", ["discriminator", "generator"])
@pytest.mark.parametrize("logit", [-1000.0, -40.0, 40.0, 1000.0])
def test_large_logits_stay_finite_in_single_precision(loss, role, logit):
    value, gradient = on_logits(loss, role, [logit], torch.float32)
    assert math.isfinite(value)
    assert all(map(math.isfinite, gradient))


def test_a_steep_critic_stays_finite_in_single_precision():
    critic = Linear(torch.full((2,), 1000.0))
    total = WassersteinGP().discriminator(make_turn("discriminator", critic, torch.randn(4, 2)))["total"]
    total.backward()
    assert total.isfinite()
    assert critic.weight.grad.isfinite().all()


def test_minimax_of_a_certain_discriminator():
    assert on_logits(Minimax(), "generator", [40.0], torch.float32)[0] == pytest.approx(-40)


@pytest.mark.parametrize("shape", [(2,), (3, 4, 4)])
@pytest.mark.parametrize("rows", [(0, 8), (0, 5), (5, 8)])
def test_penalties_of_a_linear_critic(shape, rows):
    weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    norm = math.sqrt(sum(w * w for w in weight.flatten().tolist()))
    real = torch.randn(8, *shape, dtype=torch.float64)
    penalty = GradientPenalty().discriminator(make_turn("discriminator", Linear(weight), real, rows))
    assert penalty.item() == pytest.approx((norm - 1) ** 2, abs=1e-12)
    r1 = R1().discriminator(make_turn("discriminator", Linear(weight), real, rows, differentiable=True))
    assert r1.item() == pytest.approx(norm**2 / 2, abs=1e-12)


def test_r1_of_a_bowl():
    real, critic = torch.randn(6, 3, dtype=torch.float64), Bowl(0.7)
    term = R1().discriminator(make_turn("discriminator", critic, real, differentiable=True))
    squares = mean(sum(x * x for x in row) for row in real.tolist())
    assert term.item() == pytest.approx(0.7**2 * squares / 2, abs=1e-12)
    term.backward()
    assert critic.a.grad.item() == pytest.approx(0.7 * squares, abs=1e-12)


def test_each_sample_has_its_own_place_between_real_and_fake():
    real, critic = torch.full((32, 3), 5.0, dtype=torch.float64), Linear(torch.ones(3, dtype=torch.float64))
    turn = make_turn("discriminator", critic, real)
    GradientPenalty().discriminator(turn)
    (between,) = critic.asked
    share = (between - real) / (turn.fake - real)
    assert torch.allclose(share, share[:, :1].expand(-1, 3))
    assert share.min() >= 0
    assert share.max() < 1
    assert share[:, 0].unique().numel() == 32


def test_gradient_penalty_of_a_bowl():
    real, critic = torch.randn(6, 3, dtype=torch.float64), Bowl(0.7)
    turn = make_turn("discriminator", critic, real)
    penalty = GradientPenalty().discriminator(turn)
    rows = {"start": 0, "stop": 6, "total": 6, "device": torch.device("cpu"), "dtype": torch.float64}
    share = Noise(3, 5, 0, "gradient-penalty", **rows).uniform(6, 1)
    points = (real + share * (turn.fake - real)).tolist()
    norms = [0.7 * math.sqrt(sum(x * x for x in point)) for point in points]
    assert penalty.item() == pytest.approx(mean((norm - 1) ** 2 for norm in norms), abs=1e-12)


def test_the_penalty_of_a_flat_critic_has_a_finite_gradient():
    critic = Linear(torch.zeros(3))
    penalty = GradientPenalty().discriminator(make_turn("discriminator", critic, torch.randn(4, 3)))
    penalty.backward()
    assert penalty.item() == 1
    assert critic.weight.grad.isfinite().all()


def test_wgan_gp_is_the_distance_and_ten_times_the_penalty():
    weight = torch.tensor([3.0, -4.0], dtype=torch.float64)
    turn = make_turn("discriminator", Linear(weight), torch.randn(8, 2, dtype=torch.float64))
    terms = WassersteinGP().discriminator(turn)
    distance = mean((turn.real.detach() - turn.fake).matmul(weight).tolist())
    assert terms["gradient_penalty"].item() == pytest.approx(16)
    assert terms["distance"].item() == pytest.approx(distance)
    assert terms["total"].item() == pytest.approx(160 - distance)
    generator = WassersteinGP().generator(make_turn("generator", Linear(weight), torch.zeros(8, 2).double()))
    assert generator["total"].item() == pytest.approx(-mean(turn.fake.matmul(weight).tolist()))


def test_the_penalty_reaches_the_critic_only():
    critic = Linear(torch.randn(2))
    turn = make_turn("discriminator", critic, torch.randn(4, 2))
    WassersteinGP().discriminator(turn)["gradient_penalty"].backward()
    assert critic.weight.grad is not None
    assert turn.players["generator"].scale.grad is None


@pytest.mark.parametrize("regularizer", [GradientPenalty(), R1()])
def test_mixed_precision_hardly_changes_a_penalty(regularizer):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 64), nn.SiLU(), nn.Linear(64, 1), nn.Flatten(0))

    class Critic(nn.Module):
        def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
            return network(images)

    real = torch.randn(16, 3, 4, 4)
    full = regularizer.discriminator(make_turn("discriminator", Critic(), real, differentiable=True))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = regularizer.discriminator(make_turn("discriminator", Critic(), real, differentiable=True))
    assert mixed.dtype == torch.float32
    assert mixed.item() == pytest.approx(full.item(), rel=1e-2)


def test_wgan_gp_plays_the_critic_with_fresh_batches():
    loss = WassersteinGP(d_steps=3)
    assert loss.turns == ("discriminator", "discriminator", "discriminator", "generator")
    assert loss.fresh_batches == (True, True, True, False)
    assert WassersteinGP().turns.count("discriminator") == 5


def test_hinge_may_play_the_discriminator_more_often():
    assert Hinge().turns == ("discriminator", "generator")
    assert Hinge(d_steps=3).fresh_batches == (True, True, True, False)


@pytest.mark.parametrize("fields", [{"d_steps": 0}, {"gp_weight": -1}, {"gp_weight": math.nan}, {"gp_wieght": 1}])
def test_wgan_gp_refuses(fields):
    with pytest.raises(ValidationError):
        WassersteinGP(**fields)
