"""Pairs of losses and architectures as a user trains them: real images, two Ray workers.

Of either Ray sees no more than the name in the config: tests/test_zoo.py plays all pairs without it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from gandist_datasets.idx import read_idx

from tests.processes import run
from tests.test_datasets import write_idx
from tests.turns import adversarial

STEPS = 4
ARCHITECTURES = {
    "sngan-resnet": {"width": 8, "latent": 16},
    "stylegan2": {"channel_base": 256, "channel_max": 16, "latent": 16, "style": 16, "mapping_layers": 2},
}
LOSSES = {loss.name: sum(loss().fresh_batches) for loss in adversarial()}
PAIRS = [("wgan-gp", "sngan-resnet"), ("r3gan", "stylegan2")]


@pytest.fixture(scope="module")
def fashion(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first images of Fashion-MNIST: as many as these runs need, and not 60,000 to stretch in each worker."""
    made = tmp_path_factory.mktemp("fashion-mnist")
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        write_idx(made / name, read_idx(data_folder / "fashion-mnist" / f"{name}.gz")[:600])
    return made


def config(loss: str, architecture: str, data: Path) -> dict[str, Any]:
    train = {"images": 8 * STEPS * LOSSES[loss], "batch_size": 8, "log_every": 2, "sample_every": 2, "save_every": 2}
    return {
        "run": {"name": "pair"},
        "dataset": {"name": "fashion-mnist", "root": str(data), "size": 32},
        "architecture": {"name": architecture, **ARCHITECTURES[architecture]},
        "loss": {"name": loss},
        "train": train,
        "tracking": {"console": {"enabled": False}, "wandb": {"mode": "disabled"}},
    }


def require_trained(folder: Path) -> None:
    """The rows, pictures and weights of a run of `STEPS` steps."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert {"loss/discriminator/total", "loss/generator/total"} <= rows[-1].keys()
    pictures = sorted(path.name for path in (folder / "samples").glob("*.png"))
    assert pictures == ["step-00000002.png", "step-00000004.png"]
    assert (folder / "generator.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "architecture"), PAIRS)
def test_a_pair_trains_on_two_workers(tmp_path: Path, fashion: Path, loss: str, architecture: str):
    (tmp_path / "pair.yaml").write_text(yaml.safe_dump(config(loss, architecture, fashion)))
    ended = run("train", "pair.yaml", "--workers", "2", "--json", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["steps"] == STEPS
    require_trained(tmp_path / "runs" / "pair")
    assert json.loads((tmp_path / "runs" / "pair" / "result.json").read_text())["steps"] == STEPS
