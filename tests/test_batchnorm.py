"""The synchronised batch norm is torch's batch norm of the global batch: values, gradients, second gradients, means."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gandist.contract.turn import Span
from gandist.training.batchnorm import SyncBatchNorm, synchronise
from gandist.training.shares import split
from tests.small_runs import on_ranks

ROWS = 5
"""Shared by two ranks as 3 and 2."""
SHAPES = {"points": (3,), "images": (3, 2, 4)}
FIELDS: list[dict[str, Any]] = [{}, {"momentum": None, "eps": 0.1}, {"affine": False}, {"track_running_stats": False}]


def layer(shape: tuple[int, ...], fields: dict[str, Any]) -> nn.Module:
    kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    made = kind(shape[0], **fields)
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        parameter.data.normal_(generator=generator)
    return made


def computed(norm: nn.Module, rows: slice, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Two forwards; gradients of a sum over rows that is no symmetric function of them, and of its squared slope."""
    generator = torch.Generator().manual_seed(2)
    found: dict[str, Tensor] = {}
    for number in range(2):
        every = 3 + 2 * torch.randn(2, ROWS, *shape, generator=generator, dtype=torch.float64)
        own = every[0, rows].requires_grad_()
        out = norm(own)
        (slope,) = torch.autograd.grad((out.tanh() * every[1, rows]).sum(), own, create_graph=True)
        weights = list(norm.parameters())
        first = torch.autograd.grad((out.tanh() * every[1, rows]).sum(), weights, retain_graph=True) if weights else ()
        second = torch.autograd.grad(slope.square().sum(), [own, *weights])
        rowwise = {"out": out, "slope": slope, "second slope": second[0]}
        found |= {f"{name} {number}": value.detach() for name, value in rowwise.items()}
        summed = {f"first {index}": value for index, value in enumerate(first)}
        summed |= {f"second {index}": value for index, value in enumerate(second[1:])}
        found |= {f"sum {name} {number}": value.detach() for name, value in summed.items()}
    return found


def on_own_rows(rank: int, world: int) -> dict[str, tuple[dict[str, Tensor], dict[str, Tensor]]]:
    span = split(Span(0, ROWS, ROWS), world)[rank]
    results = {}
    for name, shape in SHAPES.items():
        for index, fields in enumerate(FIELDS):
            norm = synchronise(layer(shape, fields)).double()
            results[f"{name} {index}"] = computed(norm, slice(span.start, span.stop), shape), norm.state_dict()
    return results


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, tuple[dict[str, Tensor], dict[str, Tensor]]]]:
    return on_ranks(2, on_own_rows)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("index", range(len(FIELDS)))
def test_two_ranks_are_torchs_batch_norm_of_all_rows(ranks, name: str, index: int):
    norm = layer(SHAPES[name], FIELDS[index]).double()
    expected = computed(norm, slice(0, ROWS), SHAPES[name])
    first, second = (rank[f"{name} {index}"] for rank in ranks)
    for key, value in expected.items():
        mine, theirs = first[0][key], second[0][key]
        found = mine + theirs if key.startswith("sum") else torch.cat([mine, theirs])
        torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-9, msg=lambda text, key=key: f"{key}: {text}")
    for key, value in norm.state_dict().items():
        for _, buffers in (first, second):
            torch.testing.assert_close(buffers[key], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SHAPES)
def test_one_process_is_torchs_too_and_so_is_evaluation(name: str):
    shape = SHAPES[name]
    norm, twin = layer(shape, {}).double(), synchronise(layer(shape, {})).double()
    torch.testing.assert_close(computed(twin, slice(0, ROWS), shape), computed(norm, slice(0, ROWS), shape))
    rows = torch.randn(ROWS, *shape, dtype=torch.float64)
    torch.testing.assert_close(twin.eval()(rows), norm.eval()(rows), rtol=1e-12, atol=1e-12)


def test_large_means_do_not_spoil_the_variance():
    rows = torch.randn(64, 3) + 10_000
    expected = nn.BatchNorm1d(3, dtype=torch.float64)(rows.double())
    torch.testing.assert_close(SyncBatchNorm(3)(rows).double(), expected, rtol=0, atol=5e-3)


def test_every_batch_norm_of_a_network_is_replaced_and_nothing_else():
    network = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4, momentum=0.3), nn.ReLU())).eval()
    before = network.state_dict()
    after = synchronise(network)
    assert [type(module).__name__ for module in after.modules() if not isinstance(module, nn.Sequential)] == [
        "Linear",
        "SyncBatchNorm",
        "ReLU",
    ]
    assert not any(module.training for module in after.modules())
    assert after[1][0].momentum == 0.3  # type: ignore[index]
    assert all(torch.equal(value, before[key]) for key, value in after.state_dict().items())
