"""Every loss with every image architecture, as a user trains them: real images, two Ray workers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from gandist import Loss
from gandist.contract.discovery import installed
from tests.processes import run

STEPS = 4
ARCHITECTURES = {
    "mlp-conv": (28, {"latent": 16}),
    "dcgan": (32, {"width": 8, "latent": 16, "norm": "layer"}),
    "sngan-resnet": (32, {"width": 8, "latent": 16}),
}
LOSSES = {loss.name: sum(loss().fresh_batches) for loss in installed().components(Loss)}


def config(loss: str, architecture: str, data: Path) -> dict[str, Any]:
    size, fields = ARCHITECTURES[architecture]
    train = {"images": 8 * STEPS * LOSSES[loss], "batch_size": 8, "log_every": 2, "sample_every": 2, "save_every": 2}
    return {
        "run": {"name": "pair"},
        "dataset": {"name": "fashion-mnist", "root": str(data / "fashion-mnist"), "size": size},
        "architecture": {"name": architecture, **fields},
        "loss": loss,
        "train": train,
    }


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_every_architecture(tmp_path: Path, data_folder: Path, loss: str, architecture: str):
    (tmp_path / "pair.yaml").write_text(yaml.safe_dump(config(loss, architecture, data_folder)))
    ended = run("train", "pair.yaml", "--workers", "2", "--json", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["steps"] == STEPS
    folder = tmp_path / "runs" / "pair"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert {"loss/discriminator/total", "loss/generator/total"} <= rows[-1].keys()
    assert json.loads((folder / "result.json").read_text())["steps"] == STEPS
    assert sorted(path.name for path in (folder / "samples").glob("*.png")) == [
        "step-00000002.png",
        "step-00000004.png",
    ]
    assert (folder / "generator.safetensors").is_file()
