"""The same loop on a CUDA device."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from gandist import Source
from gandist.config.resolve import resolve
from gandist.testing.tiny import RandomSamples
from gandist.training import checkpoint
from gandist.training.batchnorm import SyncBatchNorm
from gandist.training.loop import train
from gandist.training.run import RunView
from gandist.training.surroundings import Announce, Surroundings
from tests.turns import adversarial

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]

STEPS = 6
USUAL = {
    "mlp-conv": ({"name": "mlp-conv"}, (1, 28, 28), 0),
    "dcgan": ({"name": "dcgan"}, (3, 64, 64), 0),
    "sngan-resnet": ({"name": "sngan-resnet", "width": 128}, (3, 32, 32), 0),
    "sagan": ({"name": "sngan-resnet", "attention": 64, "conditioning": "projection"}, (3, 128, 128), 10),
    "biggan": ({"name": "biggan", "conditioning": "projection"}, (3, 128, 128), 10),
    "stylegan2": ({"name": "stylegan2", "channel_base": 16384}, (3, 256, 256), 0),
    "r3gan": ({"name": "r3gan"}, (3, 256, 256), 0),
}
"""Every architecture of images at the size that its paper is best known for: its section, shape and classes."""
ARCHITECTURES = {"mlp-conv": 28, "dcgan": 32, "sngan-resnet": 32}


def config(loss: str, architecture: str, steps: int = STEPS, **train: Any) -> dict[str, Any]:
    size = ARCHITECTURES[architecture]
    turns = next(sum(kind().fresh_batches) for kind in adversarial() if kind.name == loss)
    sections = {"images": 16 * steps * turns, "batch_size": 16, "log_every": 2, "save_every": 2, "keep": 10}
    return {
        "run": {"name": "gpu", "seed": 1},
        "dataset": {"name": "digits", "size": size},
        "architecture": {"name": architecture},
        "loss": {"name": loss, "regularizers": [{"name": "r1", "weight": 0.1, "every": 2}]},
        "train": {**sections, **train},
    }


def trained(
    mapping: dict[str, Any], folder: Path, stop_at: int = 0, device: str = "cuda", source: Source | None = None
) -> list[dict[str, float]]:
    """Log lines of a run. stop_at: number of the log line after which it is asked to stop. source: not the config's."""
    run, lines = resolve(mapping), list[dict[str, float]]()

    def watch(view: RunView) -> Announce:
        def announce(hook: str, **facts: Any) -> None:
            if hook == "gandist_on_log":
                lines.append(facts["scalars"])

        return announce

    around = Surroundings(
        folder,
        device=torch.device(device),
        watch=watch,
        requests=lambda: {"stop"} if stop_at and len(lines) == stop_at else set(),
    )
    if run.train.deterministic:
        torch.use_deterministic_algorithms(True)
    try:
        train(run, source or run.dataset.open(), around)
    finally:
        torch.use_deterministic_algorithms(False)
    return lines


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("loss", [loss.name for loss in adversarial()])
def test_every_pair_trains(tmp_path: Path, loss: str, architecture: str, precision: str):
    lines = trained(config(loss, architecture, steps=2, precision=precision), tmp_path)
    assert lines
    assert all(math.isfinite(value) for line in lines for value in line.values())
    assert lines[-1]["memory/gpu_gib"] > 0
    networks, _ = checkpoint.load(tmp_path / "checkpoints" / "step-00000002")
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in networks.values())


@pytest.mark.parametrize("name", USUAL)
def test_everything_fast_together_trains_at_the_usual_size(tmp_path: Path, name: str):
    """bf16, channels_last and compiled networks; a penalty on every second turn, which is not compiled."""
    architecture, shape, classes = USUAL[name]
    mapping = config("hinge", "dcgan", steps=2, precision="bf16", channels_last=True, compile=True)
    source = RandomSamples(shape=shape, classes=classes).open()
    lines = trained({**mapping, "architecture": architecture}, tmp_path, source=source)
    assert lines
    assert all(math.isfinite(value) for line in lines for value in line.values())


def test_a_deterministic_run_that_goes_on_ends_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    mapping, digests = config("non-saturating", "dcgan", deterministic=True), []
    for name, stops in (("straight", [0]), ("interrupted", [1, 0])):
        for stop_at in stops:
            trained(mapping, tmp_path / name, stop_at)
        digests.append(hashlib.sha256((tmp_path / name / "generator.safetensors").read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_the_gpu_computes_what_the_cpu_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Batch order, latents and initial weights are those of the CPU; the arithmetic agrees to its precision."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    mapping = config("minimax", "dcgan", steps=1, log_every=1)
    gpu, cpu = (trained(mapping, tmp_path / device, device=device)[0] for device in ("cuda", "cpu"))
    for name in ("loss/discriminator/total", "gradient_norm/discriminator", "logits/real", "loss/discriminator/r1"):
        assert gpu[name] == pytest.approx(cpu[name], rel=1e-3), name


def test_synchronised_batch_norm_is_torchs():
    rows = torch.randn(8, 3, 4, 4, device="cuda")
    mine, theirs = SyncBatchNorm(3).cuda(), torch.nn.BatchNorm2d(3).cuda()
    torch.testing.assert_close(mine(rows), theirs(rows))
    torch.testing.assert_close(mine.running_var, theirs.running_var)
