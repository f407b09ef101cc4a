"""What several ranks must agree on: buffers, gradients of shared terms, when to stop, and why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gandist import RunError, Turn
from gandist.config.schema import Config
from gandist.contract.turn import Moment, Seen, Span
from gandist.testing.tiny import BaseLoss
from gandist.training import checkpoint
from gandist.training.consistency import require_equal
from gandist.training.shares import share, split
from gandist.training.state import State
from gandist.training.surroundings import Surroundings
from tests.faulty import NanGradient, NanOnOneRank, Skips, Spare
from tests.small_runs import attempt, config, on_ranks, saved_steps

ROWS = 5
"""Shared by two ranks as 3 and 2."""


def energy(points: Tensor) -> Tensor:
    """Of all pairs: no mean over samples, so each row's gradient depends on every other row."""
    return torch.logsumexp((points @ points.t()).flatten(), 0)


def everyone(rank: int, world: int) -> tuple[Tensor, Tensor, Tensor]:
    """Energy of the global batch, its gradient for a shared weight, and that of the squared slope at the rows."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(ROWS, 3, generator=generator, dtype=torch.float64)
    weight = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    span = split(Span(0, ROWS, ROWS), world)[rank]
    turn = Turn({}, "discriminator", {}, span, Moment(0, 0, 0, 0))
    own = points[span.start : span.stop].clone().requires_grad_()
    value = energy(turn.everyone((own @ weight).sin()))
    (first,) = torch.autograd.grad(value, weight, retain_graph=True)
    # The slope of all ranks' copies of the energy, which are `world`.
    (slope,) = torch.autograd.grad(value, own, create_graph=True)
    (second,) = torch.autograd.grad(turn.everyone(slope / world).square().sum(), weight)
    return value.detach(), first, second


def test_terms_of_everyone_have_the_whole_gradient():
    """The mean over ranks, which data-parallel training takes, is that of one process; not half of it."""
    one = everyone(0, 1)
    two = on_ranks(2, everyone)
    torch.testing.assert_close(two[0][0], one[0])
    for order in (1, 2):
        assert one[order].abs().max() > 0.1
        torch.testing.assert_close((two[0][order] + two[1][order]) / 2, one[order])


def gathered(rank: int, world: int) -> tuple[Tensor, Tensor]:
    own = share(ROWS, rank, world, micro_batch=2)
    seen = Seen("discriminator", [{"row": torch.arange(part.start, part.stop)} for part in own.parts], own.span)
    return seen["row"], seen.local("row")


def test_memories_learn_from_all_rows_in_order():
    for rows, _ in on_ranks(2, gathered):
        assert rows.tolist() == list(range(ROWS))
    assert [local.tolist() for _, local in on_ranks(2, gathered)] == [[0, 1, 2], [3, 4]]


def batch_norm_run() -> Config:
    architecture = {"name": "dcgan", "width": 2, "latent": 4, "norm": "batch"}
    return config(BaseLoss(), dataset={"name": "digits", "size": 16}, architecture=architecture)


def drifted_and_saved(rank: int, world: int, folder: Path) -> dict[str, Tensor]:
    run = batch_norm_run()
    state = State(run, run.dataset.open().facts, Surroundings(folder, rank=rank, world=world))
    for network in (*state.networks.values(), state.generator):
        for buffer in network.buffers():
            buffer.add_(rank + 1)
    state.save()
    return state.tensors()


def test_running_means_of_the_ranks_agree_whenever_they_are_saved(tmp_path: Path):
    first, second = on_ranks(2, drifted_and_saved, tmp_path)
    (path,) = checkpoint.checkpoints(tmp_path / "checkpoints")
    saved, _ = checkpoint.load(path)
    means = [name for name in first if name.endswith("running_mean")]
    assert {name.split(".")[0] for name in means} == {"generator", "discriminator", "smoothed"}
    assert all((first[name] == 1).all() for name in means), "rank 0's"
    for name, tensor in saved.items():
        assert torch.equal(first[name], tensor), name
        assert torch.equal(second[name], tensor), name


def trained(rank: int, world: int, folder: Path) -> str:
    return attempt(rank, world, batch_norm_run(), folder).error


def test_running_means_that_follow_each_ranks_rows_do_not_stop_a_run(tmp_path: Path):
    assert on_ranks(2, trained, tmp_path) == ["", ""]
    assert saved_steps(tmp_path) == [2, 4, 6]


def compared(rank: int, world: int) -> list[str]:
    values = torch.tensor([1.0, 2.0, float("nan")])
    tensors = {"equal": values, "step": torch.tensor(7), "half": values.bfloat16(), "flags": values > 1}
    cases = {
        "nothing": {},
        "one bit": {"weight": torch.tensor([0.5, 1.0 + rank * 2**-23])},
        "the order": {"order": torch.tensor([1, 2] if rank else [2, 1])},
        "two": {"weight": torch.tensor(float(rank)), "whole": torch.tensor(3), "count": torch.tensor(rank)},
    }
    said = []
    for case in cases.values():
        try:
            require_equal({**tensors, **case})
            said.append("")
        except RunError as error:
            said.append(str(error).split(";")[0])
    return said


def test_the_first_tensor_that_differs_is_named_on_every_rank():
    expected = ["1 of 5 tensors differ, the first is weight", "1 of 5 tensors differ, the first is order"]
    expected.append("2 of 7 tensors differ, the first is weight")
    for said in on_ranks(2, compared):
        assert said == ["", *(f"the ranks no longer agree: {text}" for text in expected)]


def test_a_value_that_is_not_finite_on_one_rank_stops_all_with_one_message(tmp_path: Path):
    for log_every in (1, 100):
        run = config(NanOnOneRank(at=3), train={"log_every": log_every})
        folder = tmp_path / str(log_every)
        errors = {seen.error for seen in on_ranks(2, attempt, run, folder)}
        (error,) = errors
        assert "'total' in the discriminator's turn of step 3 (first seen on rank 1)" in error
        assert saved_steps(folder) == [2]
        assert checkpoint.damage(folder / "checkpoints" / "step-00000002") is None


def test_a_gradient_that_is_not_finite_stops_all_ranks(tmp_path: Path):
    seen = on_ranks(2, attempt, config(NanGradient(at=3), train={"log_every": 100}), tmp_path)
    assert len({one.error for one in seen}) == 1
    assert "'gradient_norm' in the discriminator's turn of step 3" in seen[0].error
    assert saved_steps(tmp_path) == [2]


def test_a_request_that_rank_0_alone_knows_of_is_met_by_all_at_the_same_step(tmp_path: Path):
    run = config(BaseLoss(), steps=8, train={"log_every": 3, "save_every": 0})
    for seen in on_ranks(2, attempt, run, tmp_path, {2: "save", 5: "stop"}):
        assert (seen.step, seen.stopped) == (5, True)
    assert saved_steps(tmp_path) == [2, 5]
    assert not (tmp_path / "generator.safetensors").exists()
    first, second = on_ranks(2, attempt, run, tmp_path)
    assert (first.step, second.step, first.resumed_from, first.stopped) == (8, 8, 5, False)


def test_a_stop_at_the_last_step_is_an_end_like_any_other(tmp_path: Path):
    seen = attempt(0, 1, config(BaseLoss(), steps=2), tmp_path, {2: "stop"})
    assert (seen.step, seen.stopped) == (2, False)
    assert (tmp_path / "generator.safetensors").exists()


@pytest.mark.parametrize(("loss", "said"), [(BaseLoss(), "gave spare.weight and 1 more no gradient"), (Skips(), "")])
def test_unused_parameters_on_two_ranks(tmp_path: Path, loss: BaseLoss, said: str):
    """Without the declaration a message instead of the wrapper's, with it the same run as on one process."""
    seen = on_ranks(2, attempt, config(loss, architecture=Spare()), tmp_path)
    assert all(said in one.error and bool(said) == bool(one.error) for one in seen)


def test_micro_batches_equal_ranks_bit_for_bit_with_dropout(tmp_path: Path):
    """What is random inside a network is seeded by the part of the batch, whoever plays it."""
    players = {"name": "mlp-conv", "latent": 4, "dropout": 0.3, "batch_norm": False}
    weights = []
    for world, micro in ((1, 4), (2, None), (1, None)):
        folder = tmp_path / f"{world}-{micro}"
        sections = {"dataset": {"name": "digits"}, "architecture": players}
        run = config(BaseLoss(), 2, **sections, train={"micro_batch": micro})
        if world == 1:
            assert attempt(0, 1, run, folder).error == ""
        else:
            assert on_ranks(world, attempt, run, folder)[0].error == ""
        weights.append(checkpoint.load(folder / "checkpoints" / "step-00000002")[0])
    parts, ranks, whole = weights
    assert all(torch.equal(parts[name], tensor) for name, tensor in ranks.items())
    key = "discriminator.head.weight"
    assert not torch.allclose(parts[key], whole[key], atol=1e-6), "one mask for the whole batch is another mask"


def test_a_run_keeps_its_id(tmp_path: Path):
    """Watchers that go on with a run find it by the id that the first attempt had."""
    first = attempt(0, 1, config(BaseLoss(), steps=4), tmp_path, {3: "stop"}, run_id="first")
    second = attempt(0, 1, config(BaseLoss(), steps=4), tmp_path, run_id="second")
    assert (first.run_id, second.run_id, second.resumed_from) == ("first", "first", 3)
