from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from gandist_example.architecture import DensePlayers
from gandist_example.dataset import Checkerboard
from gandist_example.loss import LeastSquares

from gandist import Facts, Turn, Verdict
from gandist.testing import check_architecture, check_dataset, check_loss


def test_the_loss_keeps_the_contract():
    check_loss(LeastSquares(target=0.9))


def test_least_squares_by_hand():
    verdicts = SimpleNamespace(on_real=Verdict(torch.tensor([1.0, 3.0])), on_fake=Verdict(torch.tensor([0.0, 2.0])))
    turn = cast(Turn, verdicts)  # All of a turn that this loss looks at.
    loss = LeastSquares()
    # Real: (0² + 2²) / 2 / 2 = 1. Fake: (0² + 2²) / 2 / 2 = 1. Generator: (1² + 1²) / 2 / 2 = 0.5.
    assert loss.discriminator(turn)["total"].item() == pytest.approx(2.0)
    assert loss.generator(turn)["total"].item() == pytest.approx(0.5)


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8)])
def test_the_architecture_keeps_the_contract(shape):
    check_architecture(DensePlayers(width=8), Facts(shape=shape, classes=0, size=100, fingerprint="any"))


def test_the_data_set_keeps_the_contract():
    check_dataset(Checkerboard(count=500))


def test_every_point_lies_on_a_dark_field():
    points = Checkerboard(side=4, count=500).open().read(range(500))["real"]
    column, row = ((points + 2).floor().long()).unbind(1)
    assert ((column + row) % 2 == 0).all()


def test_gandist_finds_the_plugin():
    assert "gandist_example" in entry_points(group="gandist").names
