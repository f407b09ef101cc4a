"""One turn: what is minimised, whose gradients it leaves behind, and what is said when it fails."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from gandist import Regularizer, RunError, Schedule, Turn
from gandist.config.schema import Config
from gandist.contract.turn import Moment
from gandist.testing.tiny import BaseLoss
from gandist.training.batches import Batches
from gandist.training.clock import Due, due
from gandist.training.loop import train
from gandist.training.players import play
from gandist.training.shares import share
from gandist.training.state import State
from gandist.training.surroundings import Surroundings
from gandist.training.turns import Table
from tests.faulty import NanGradient, OutOfHostMemory, OutOfMemory, Raises, Skips, Spare
from tests.small_runs import attempt, config, saved_steps


class Slope(Regularizer):
    """The mean logit on real samples."""

    name = "slope"

    def discriminator(self, turn: Turn) -> torch.Tensor:
        return turn.on_real.logits.mean()


class Board:
    """The players of a config, who can be dealt single turns."""

    def __init__(self, config: Config):
        source, around = config.dataset.open(), Surroundings(Path())
        own = share(config.train.batch_size, 0, 1)
        self.state = State(config, source.facts, around)
        self.table = Table(self.state, own, around)
        self.rows = Batches(source, 0, own.span, 0, around.device).take(0)

    def deal(self, role: str, count: int = 0) -> Turn:
        return self.table.deal(role, self.rows, 0, Moment(0, count, 0, count))

    def gradients(self, role: str) -> list[torch.Tensor | None]:
        return [parameter.grad for parameter in self.state.networks[role].parameters()]


@pytest.mark.parametrize(("role", "other"), [("discriminator", "generator"), ("generator", "discriminator")])
def test_a_turn_leaves_gradients_with_its_own_player_only(role: str, other: str):
    board = Board(config(BaseLoss()))
    player = board.state.act(role)
    player.move(board.deal(role), 1.0)[0].backward()
    assert all(gradient is not None and gradient.any() for gradient in board.gradients(role))
    assert board.gradients(other) == [None] * len(board.gradients(other))


def test_no_gradient_of_an_earlier_turn_counts():
    board, found = Board(config(BaseLoss())), []
    for _ in range(2):
        player = board.state.act("discriminator")
        player.move(board.deal("discriminator"), 1.0)[0].backward()
        found.append([gradient.clone() for gradient in board.gradients("discriminator")])
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)


def test_a_lazy_regularizer_plays_on_every_nth_turn_n_times_as_heavy():
    loss = BaseLoss(regularizers=(Slope(weight=0.5, every=3),))
    board = Board(config(loss))
    for count in range(7):
        turn = board.deal("discriminator", count)
        objective, terms = play(loss, turn, weight=0.25)
        plain = BaseLoss().discriminator(turn)["total"]
        expected = plain + (3 * 0.5 * turn.on_real.logits.mean() if count % 3 == 0 else 0)
        torch.testing.assert_close(terms["total"], expected)
        torch.testing.assert_close(objective, 0.25 * expected)
        assert ("slope" in terms) == (count % 3 == 0)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [1, 1, 1, 1, 1]),
        ({"decay": "linear"}, [1, 0.75, 0.5, 0.25, 0]),
        ({"decay": "cosine"}, [0.5 + 0.5 * math.cos(math.pi * part / 4) for part in range(5)]),
        ({"decay": "linear", "hold": 0.5}, [1, 1, 1, 0.5, 0]),
        ({"warmup": 200}, [1 / 200, 101 / 200, 1, 1, 1]),
        ({"warmup": 200, "decay": "linear"}, [1 / 200, 101 / 200, 1, 0.5, 0]),
    ],
)
def test_schedule(fields: dict[str, Any], expected: list[float]):
    """Factors of the learning rate after 0, 100, … 400 of 400 images."""
    schedule = Schedule(**fields)
    assert [schedule.factor(images, 400) for images in range(0, 401, 100)] == pytest.approx(expected)


def test_the_schedule_moves_the_learning_rate(tmp_path: Path):
    optimizer = {role: {"name": "sgd", "lr": 0.1, "schedule": {"decay": "linear"}} for role in BaseLoss.turns}
    seen = attempt(0, 1, config(BaseLoss(), steps=4, optimizer=optimizer), tmp_path)
    assert [line["lr/generator"] for line in seen.lines.values()] == pytest.approx([0.1, 0.075, 0.05, 0.025])


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (1, Due(evaluate=False, log=False, sample=False, save=False)),
        (2, Due(evaluate=False, log=True, sample=False, save=False)),
        (3, Due(evaluate=True, log=True, sample=False, save=False)),
        (4, Due(evaluate=False, log=True, sample=True, save=False)),
        (7, Due(evaluate=True, log=True, sample=True, save=True)),
    ],
)
def test_what_is_due(step: int, expected: Due):
    """Everything at the last of seven steps; an evaluation is always logged; 0 means at the end only."""
    train = {"log_every": 2, "sample_every": 4, "save_every": 0}
    assert due(config(BaseLoss(), steps=7, train=train, evaluate={"every": 3}), step) == expected


def test_without_an_interval_nothing_is_evaluated():
    assert not due(config(BaseLoss(), steps=7), 7).evaluate


def test_a_parameter_without_gradient_is_named(tmp_path: Path):
    seen = attempt(0, 1, config(BaseLoss(), architecture=Spare()), tmp_path / "says nothing")
    assert "generator's turn gave spare.weight and 1 more no gradient" in seen.error
    assert "skips_parameters: ClassVar = True" in seen.error
    assert attempt(0, 1, config(Skips(), architecture=Spare()), tmp_path / "says so").step == 6


@pytest.mark.parametrize("loss", [OutOfMemory(), OutOfHostMemory()])
def test_memory_that_runs_out_comes_with_the_turn_and_the_cure(tmp_path: Path, loss: BaseLoss):
    seen = attempt(0, 1, config(loss), tmp_path)
    assert "out of memory in the generator's turn of step 1 with 8 rows at once" in seen.error
    assert "set train.micro_batch to 4 or less" in seen.error


def test_an_error_in_a_plugin_comes_with_the_turn(tmp_path: Path):
    with pytest.raises(KeyError) as caught:
        attempt(0, 1, config(Raises()), tmp_path)
    assert caught.value.__notes__ == ["(in the generator's turn of step 1, loss raises)"]


@pytest.mark.parametrize("role", ["discriminator", "generator"])
@pytest.mark.parametrize(("at", "kept"), [(3, [2]), (4, [2, 4])])
def test_a_gradient_that_is_not_finite_is_never_saved(tmp_path: Path, role: str, at: int, kept: list[int]):
    """In a step that saves its own gradient tells; after another one the next step's logits do."""
    run = config(NanGradient(at=at, role=role), train={"log_every": 100})
    around = Surroundings(tmp_path)
    with pytest.raises(RunError, match="not a finite number") as caught:
        train(run, run.dataset.open(), around)
    around.writer.wait(60)
    if at == 3:
        assert f"'gradient_norm' in the {role}'s turn of step 3" in str(caught.value)
    assert saved_steps(tmp_path) == kept
