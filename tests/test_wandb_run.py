"""A whole `gandist train` with Weights & Biases, offline and with nobody at the server's address."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from gandist.tracking.metrics_file import read
from tests.processes import run
from tests.test_wandb import records, segments
from tests.wandb_server import served

STEPS = 6


def write(folder: Path, mode: str, workers: int) -> None:
    mapping = {
        "run": {"name": "logged"},
        "dataset": {"name": "digits", "size": 16},
        "architecture": {"name": "dcgan", "width": 4, "latent": 8},
        "loss": "non-saturating",
        "train": {"images": 8 * STEPS, "batch_size": 8, "log_every": 2, "sample_every": 3, "save_every": 3},
        "tracking": {"wandb": {"mode": mode, "project": "gandist-test"}},
        "cluster": {"workers": workers},
    }
    (folder / "logged.yaml").write_text(yaml.safe_dump(mapping))


def environment(folder: Path) -> dict[str, str]:
    """Neither the key nor the settings of whoever runs the tests, and nobody at the server's address."""
    return {
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "WANDB_API_KEY": "0" * 40,
        "NETRC": str(folder / "no-netrc"),
        "WANDB_CONFIG_DIR": str(folder / "settings"),
    }


def require_complete(folder: Path) -> None:
    """All that the run writes besides what W&B writes."""
    assert [row["step"] for row in read(folder / "metrics.jsonl")] == [2, 4, 6]
    assert sorted(path.name for path in (folder / "samples").glob("*.png")) == [
        "step-00000003.png",
        "step-00000006.png",
    ]
    assert (folder / "generator.safetensors").is_file()
    assert (folder / "result.json").is_file()


@pytest.mark.slow
def test_a_run_on_two_workers_is_logged_once_with_config_curves_and_pictures(tmp_path: Path):
    write(tmp_path, "offline", workers=2)
    ended = run("train", "logged.yaml", cwd=tmp_path, **environment(tmp_path))
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / "runs" / "logged"
    require_complete(folder)
    (segment,) = segments(folder)
    found = records(segment)

    (about,) = [record["run"] for record in found if record["type"] == "run"]
    assert (about["project"], about["display_name"]) == ("gandist-test", "logged")
    logged = {key: value for key, value in about["config"]["update"].items() if key != "_wandb"}
    assert logged == yaml.safe_load((folder / "config.yaml").read_text())

    axes = {
        metric.get("name") or metric["glob_name"]: metric for metric in (r["metric"] for r in found if "metric" in r)
    }
    assert axes["*"]["step_metric"] == "images"

    history = [record["history"]["item"] for record in found if record["type"] == "history"]
    curves = [row for row in history if "loss/generator/total" in row]
    for row, line in zip(curves, read(folder / "metrics.jsonl"), strict=True):
        assert row["images"] == line["images"] == 8 * line["step"]
        assert row["loss/generator/total"] == pytest.approx(line["loss/generator/total"])
    pictures = [row for row in history if "samples.path" in row]
    assert [row["images"] for row in pictures] == [24, 48]
    for row in pictures:
        assert sha256((segment / "files" / row["samples.path"]).read_bytes()).hexdigest() == row["samples.sha256"]


@pytest.mark.slow
@pytest.mark.arithmetic
@pytest.mark.parametrize("fault", ["slow", "dying"])
def test_a_server_that_is_slow_or_dies_costs_a_warning_and_nothing_else(tmp_path: Path, fault: str):
    write(tmp_path, "online", workers=0)
    with served(fault) as server:
        url = {"WANDB_BASE_URL": server.url}
        ended = run("train", "logged.yaml", cwd=tmp_path, **{**environment(tmp_path), **url})
    assert ended.returncode == 0, ended.stderr
    assert "wandb sync" in ended.stderr
    assert "Traceback" not in ended.stderr
    folder = tmp_path / "runs" / "logged"
    require_complete(folder)
    # The attempt that a slow server never answered leaves a folder of its own, without rows.
    (segment,) = (folder / "wandb").glob("offline-run-*" if fault == "slow" else "run-*")
    rows = [record["history"]["item"] for record in records(segment) if record["type"] == "history"]
    assert [row["images"] for row in rows if "samples.path" not in row] == [16, 32, 48]
    assert [row["images"] for row in rows if "samples.path" in row] == [24, 48]


@pytest.mark.slow
@pytest.mark.arithmetic
def test_a_server_that_does_not_answer_costs_a_warning_and_nothing_else(tmp_path: Path):
    write(tmp_path, "online", workers=0)
    ended = run("train", "logged.yaml", cwd=tmp_path, **environment(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert "no connection to W&B" in ended.stderr
    assert "Traceback" not in ended.stderr
    folder = tmp_path / "runs" / "logged"
    require_complete(folder)
    (segment,) = segments(folder)
    assert any(record["type"] == "history" for record in records(segment))
