"""A killed run that goes on ends with the same bits as one that was never disturbed."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from gandist.training import checkpoint
from tests.ranks import kill_tree, start, train_on_ranks

pytestmark = pytest.mark.arithmetic

STEPS, EVERY = 40, 10


def config() -> dict[str, Any]:
    """Batch norm, dropout's cousin spectral norm, lazy R1, a decaying learning rate: all that could lose state."""
    schedule = {"warmup": 64, "decay": "cosine"}
    return {
        "run": {"name": "resume", "seed": 1},
        "dataset": {"name": "digits", "size": 16},
        "architecture": {"name": "dcgan", "width": 4, "latent": 8, "norm": "spectral"},
        "loss": {"name": "non-saturating", "regularizers": [{"name": "r1", "every": 4}]},
        "optimizer": {"generator": {"schedule": schedule}, "discriminator": {"schedule": schedule}},
        "train": {
            "images": 8 * STEPS,
            "batch_size": 8,
            "log_every": 5,
            "save_every": EVERY,
            "sample_every": 0,
            "keep": 10,
            "ema": {"half_life": 100},
        },
    }


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "generator.safetensors").read_bytes()).hexdigest()


def logged(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def kill_after(world: int, folder: Path, scratch: Path, step: int) -> None:
    """Starts the run and kills its whole tree once the checkpoint of `step` is whole."""
    process = start(world, {"config": config(), "folder": str(folder)}, scratch)
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / f"step-{step:08d}").is_dir():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run did not reach its checkpoint"
        time.sleep(0.02)
    kill_tree(process)


@pytest.mark.parametrize("world", [1, pytest.param(2, marks=pytest.mark.slow), 3])
def test_killed_run_goes_on_bit_for_bit(tmp_path: Path, world: int):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    train_on_ranks(world, [{"config": config(), "folder": str(straight)}])
    kill_after(world, killed, tmp_path, EVERY)
    assert not (killed / "generator.safetensors").exists()
    train_on_ranks(world, [{"config": config(), "folder": str(killed)}])
    assert digest(killed) == digest(straight)
    assert logged(killed) == logged(straight) == list(range(5, STEPS + 1, 5))


def test_damaged_newest_checkpoint_is_named_and_the_one_before_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "run"
    train_on_ranks(1, [{"config": config(), "folder": str(folder)}])
    before = digest(folder)
    (folder / "generator.safetensors").unlink()
    newest = folder / "checkpoints" / f"step-{STEPS:08d}" / "networks.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    train_on_ranks(1, [{"config": config(), "folder": str(folder)}])
    said = capsys.readouterr().out
    assert f"step-{STEPS:08d} is damaged (networks.safetensors has another SHA-256" in said
    assert f"going on from step-{STEPS - EVERY:08d}" in said
    assert digest(folder) == before


def test_checkpoint_of_other_networks_is_refused(tmp_path: Path):
    folder = tmp_path / "run"
    train_on_ranks(1, [{"config": config(), "folder": str(folder)}])
    other = config()
    other["architecture"]["width"] = 6
    train_on_ranks(1, [{"config": other, "folder": str(folder)}])
    assert "belongs to other networks" in (folder / "error-0.txt").read_text()


def test_a_tensor_of_another_name_is_refused_and_not_left_as_it_was(tmp_path: Path):
    """Weights that were passed over in silence would go on from their initial values."""
    folder = tmp_path / "run"
    train_on_ranks(1, [{"config": config(), "folder": str(folder)}])
    newest, _ = checkpoint.newest(folder / "checkpoints")
    assert newest is not None
    networks, state = checkpoint.load(newest)
    name = next(name for name in networks if name.startswith("generator."))
    networks[f"module.{name}"] = networks.pop(name)
    checkpoint.save(folder / "checkpoints", STEPS, networks, state, "", {}, checkpoint.Kept(10))
    train_on_ranks(1, [{"config": config(), "folder": str(folder)}])
    said = (folder / "error-0.txt").read_text()
    assert "belongs to other networks (1 tensors missing, 1 unknown" in said
    assert name in said
