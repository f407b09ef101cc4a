"""The losses that came after the first three, against formulas written out by hand in plain numbers."""

import math

import pytest
import torch
from gandist_losses.hinge import Hinge
from gandist_losses.least_squares import LeastSquares
from gandist_losses.logistic import Logistic
from gandist_losses.non_saturating import NonSaturating
from gandist_losses.r1 import R1
from gandist_losses.r2 import R2
from gandist_losses.r3gan import R3GAN
from gandist_losses.relativistic_average import RelativisticAverage
from gandist_losses.wasserstein import Wasserstein
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gandist import Anneal, Loss
from gandist.contract.turn import Verdict
from tests.turns import Bowl, Linear, Says, log_sigmoid, make_turn, mean

REAL, FAKE = [2.0, 0.3, -1.5, 4.0], [-0.4, 1.2, -3.0, 0.9]


class TwoFaced(nn.Module):
    """Answers real samples with one list of logits and fake ones with another; real samples are zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.real = nn.Parameter(torch.tensor(REAL, dtype=torch.float64))
        self.fake = nn.Parameter(torch.tensor(FAKE, dtype=torch.float64))

    def forward(self, images: Tensor, labels: Tensor | None) -> Verdict:
        return Verdict(self.fake if images.any() else self.real)


def value(loss: Loss, role: str) -> float:
    turn = make_turn(role, TwoFaced(), torch.zeros(4, 2, dtype=torch.float64))
    return loss.method(role)(turn)["total"].item()


def softplus(x: float) -> float:
    return -log_sigmoid(-x)


FORMULAS = [
    (Hinge(), mean(max(0, 1 - r) for r in REAL) + mean(max(0, 1 + f) for f in FAKE), -mean(FAKE)),
    (
        LeastSquares(),
        mean((r - 1) ** 2 for r in REAL) / 2 + mean(f * f for f in FAKE) / 2,
        mean((f - 1) ** 2 for f in FAKE) / 2,
    ),
    (
        LeastSquares(fake=-1, real=1, wanted=0),
        mean((r - 1) ** 2 for r in REAL) / 2 + mean((f + 1) ** 2 for f in FAKE) / 2,
        mean(f * f for f in FAKE) / 2,
    ),
    (Wasserstein(), mean(FAKE) - mean(REAL), -mean(FAKE)),
    (Logistic(), mean(softplus(-r) for r in REAL) + mean(softplus(f) for f in FAKE), mean(softplus(-f) for f in FAKE)),
    (
        RelativisticAverage(),
        mean(softplus(mean(FAKE) - r) for r in REAL) + mean(softplus(f - mean(REAL)) for f in FAKE),
        mean(softplus(r - mean(FAKE)) for r in REAL) + mean(softplus(mean(REAL) - f) for f in FAKE),
    ),
]


@pytest.mark.parametrize(("loss", "discriminator", "generator"), FORMULAS, ids=lambda one: getattr(one, "name", ""))
def test_totals(loss: Loss, discriminator: float, generator: float):
    assert value(loss, "discriminator") == pytest.approx(discriminator, abs=1e-12)
    assert value(loss, "generator") == pytest.approx(generator, abs=1e-12)


def test_hinge_ignores_logits_beyond_the_margin():
    critic = Says([1.5, -0.5], torch.float64)
    Hinge().discriminator(make_turn("discriminator", critic, torch.zeros(2, 2, dtype=torch.float64)))[
        "total"
    ].backward()
    # As real: only -0.5 is within 1; as fake: both are above -1.
    assert critic.logits.grad.tolist() == pytest.approx([0.5, -0.5 + 0.5])


def test_r3gan_of_a_linear_critic():
    weight = torch.tensor([3.0, -4.0], dtype=torch.float64)
    real = torch.randn(8, 2, dtype=torch.float64)
    turn = make_turn("discriminator", Linear(weight), real, differentiable=True)
    terms = R3GAN(gamma=0.2).discriminator(turn)
    pairs = [f - r for r, f in zip((real @ weight).tolist(), (turn.fake.detach() @ weight).tolist(), strict=True)]
    pairing = mean(softplus(pair) for pair in pairs)
    assert terms["pairing"].item() == pytest.approx(pairing, abs=1e-12)
    assert (terms["r1"].item(), terms["r2"].item()) == pytest.approx((12.5, 12.5))
    assert terms["total"].item() == pytest.approx(pairing + 0.2 * 25, abs=1e-12)
    generator = R3GAN().generator(make_turn("generator", Linear(weight), real))
    assert generator["total"].item() == pytest.approx(mean(softplus(-pair) for pair in pairs), abs=1e-12)


def test_r3gan_of_a_bowl_has_slopes_of_its_own_at_real_and_fake():
    real = torch.randn(6, 3, dtype=torch.float64)
    turn = make_turn("discriminator", Bowl(0.7), real, differentiable=True)
    terms = R3GAN().discriminator(turn)
    for name, points in (("r1", real), ("r2", turn.fake)):
        squares = mean(sum(x * x for x in row) for row in points.tolist())
        assert terms[name].item() == pytest.approx(0.49 * squares / 2, abs=1e-12)


def test_r3gan_leaves_its_penalties_to_lazy_regularizers():
    turn = make_turn("discriminator", Bowl(0.7), torch.randn(6, 3, dtype=torch.float64), differentiable=True)
    eager, lazy = R3GAN(gamma=0.2).discriminator(turn), R3GAN(gamma=0.0).discriminator(turn)
    penalties = R1(weight=0.2, every=8), R2(weight=0.2, every=8)
    added = [term.discriminator(turn) * term.strength(0) / term.every for term in penalties]
    assert list(lazy) == ["total"]
    assert (lazy["total"] + sum(added)).item() == pytest.approx(eager["total"].item(), abs=1e-12)


def test_the_weight_of_r3gan_follows_the_images_seen():
    loss = R3GAN(gamma=2.0, anneal=Anneal(to=1.0, over=100, shape="linear"))
    weight, real = torch.tensor([3.0, -4.0], dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    for images, gamma in ((0, 2.0), (50, 1.5), (100, 1.0), (900, 1.0)):
        turn = make_turn("discriminator", Linear(weight), real, differentiable=True, images=images)
        terms = loss.discriminator(turn)
        assert (terms["total"] - terms["pairing"]).item() == pytest.approx(25 * gamma)


def test_wasserstein_clips_the_critic_after_its_turns_only():
    critic, loss = Linear(torch.tensor([3.0, -4.0, 0.005])), Wasserstein(clip=0.01)
    with torch.no_grad():
        loss.constrain("generator", critic)
        assert critic.weight.tolist() == pytest.approx([3.0, -4.0, 0.005])
        loss.constrain("discriminator", critic)
    assert critic.weight.tolist() == pytest.approx([0.01, -0.01, 0.005])
    assert loss.turns.count("discriminator") == 5


def test_wasserstein_leaves_a_spectrally_normalised_weight_its_size():
    critic = spectral_norm(nn.Linear(2, 1))
    before = {name: parameter.detach().clone() for name, parameter in critic.named_parameters()}
    with torch.no_grad():
        Wasserstein(clip=1e-6).constrain("discriminator", critic)
    after = dict(critic.named_parameters())
    assert torch.equal(after["parametrizations.weight.original"], before["parametrizations.weight.original"])
    assert after["bias"].abs().max() <= 1e-6 < before["bias"].abs().max()


def test_logistic_is_the_non_saturating_loss_with_lazy_r1():
    (r1,) = Logistic().regularizers
    assert (r1.name, r1.weight, r1.every) == ("r1", 10.0, 16)
    assert Logistic(regularizers=()).regularizers == ()
    assert value(Logistic(), "generator") == value(NonSaturating(), "generator")


@pytest.mark.parametrize("loss", [Hinge(), LeastSquares(), RelativisticAverage(), R3GAN(), Logistic()])
@pytest.mark.parametrize("logit", [-1000.0, 1000.0])
def test_large_logits_stay_finite_in_single_precision(loss: Loss, logit: float):
    critic = Linear(torch.full((2,), logit))
    for role in ("discriminator", "generator"):
        total = loss.method(role)(make_turn(role, critic, torch.randn(4, 2), differentiable=True))["total"]
        assert math.isfinite(total.item())
