"""`train.compile` and `train.channels_last` train the same networks."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from gandist.config.schema import Config
from gandist.testing.tiny import PlainDescent
from gandist.training import checkpoint
from gandist.training.loop import train
from gandist.training.players import taking_part
from gandist.training.state import State
from gandist.training.surroundings import Surroundings

pytestmark = pytest.mark.arithmetic

DCGAN = {"name": "dcgan", "width": 4, "latent": 8, "norm": "none"}


def config(architecture: dict[str, Any] | None = None, **given: Any) -> Config:
    regularizers = [{"name": "r1", "weight": 1.0, "every": 2}]
    return Config.model_validate(
        {
            "run": {"name": "fast"},
            "dataset": {"name": "digits", "size": 16},
            "architecture": {**DCGAN, **(architecture or {})},
            "loss": {"name": "non-saturating", "regularizers": regularizers},
            "optimizer": {role: PlainDescent(lr=0.05) for role in ("generator", "discriminator")},
            "train": {"images": 32, "batch_size": 8, "log_every": 2, **given},
        }
    )


def trained(tmp_path, **given: Any) -> dict[str, Tensor]:
    chosen = config(**given)
    folder = tmp_path / "-".join(map(str, given)) if given else tmp_path / "plain"
    train(chosen, chosen.dataset.open(), Surroundings(folder))
    newest, _ = checkpoint.newest(folder / "checkpoints")
    assert newest is not None
    return checkpoint.load(newest)[0]


def test_channels_last_is_the_same_function(tmp_path):
    plain, last = trained(tmp_path), trained(tmp_path, channels_last=True)
    for name, tensor in plain.items():
        torch.testing.assert_close(last[name], tensor, atol=1e-5, rtol=1e-4)
    state = State(config(channels_last=True), config().dataset.open().facts, Surroundings(tmp_path))
    wide = [p for network in state.networks.values() for p in network.parameters() if p.dim() == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in wide)


def test_turns_on_slopes_are_not_compiled(tmp_path):
    state = State(config(compile=True), config().dataset.open().facts, Surroundings(tmp_path))
    loss = state.config.loss
    lazy = state.at_the_table("discriminator", taking_part(loss, "discriminator", 1))
    penalised = state.at_the_table("discriminator", taking_part(loss, "discriminator", 2))
    plain = state.networks
    assert all(lazy[name] is not plain[name] for name in plain)
    assert penalised["discriminator"] is plain["discriminator"]
    assert penalised["generator"] is not plain["generator"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on CPUs")
@pytest.mark.parametrize("norm", ["none", "spectral"])
def test_compiled_networks_train_alike(tmp_path, norm: str):
    """Spectral norm: a forward of real samples and one of fakes before the backward pass."""
    plain = trained(tmp_path / "plain", architecture={"norm": norm})
    compiled = trained(tmp_path / "compiled", architecture={"norm": norm}, compile=True)
    assert compiled.keys() == plain.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(compiled[name], tensor, atol=1e-5, rtol=1e-4)
