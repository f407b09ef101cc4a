"""Weights & Biases, with its real client: what lies on disk is read back with the reader that it ships."""

import json
import platform
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from gandist.tracking.wandb import Wandb

SCALARS = {"loss/generator/total": 0.5, "lr/generator": 2e-4}


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the key nor the settings of whoever runs the tests, and nobody at the server's address."""
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "WANDB_RUN_ID", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))


def records(segment: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(segment)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*"))


def history(segment: Path) -> list[dict[str, Any]]:
    return [record["history"]["item"] for record in records(segment) if record["type"] == "history"]


def train(watcher: Wandb, folder: Path, steps: range, resumed_from: int | None = None) -> list[str]:
    """Calls the hooks as the loop does; the warnings that were shown."""
    warnings: list[str] = []
    run = tiny.view(folder, resumed_from, warnings=warnings)
    log = watcher.watch(run)
    assert log is not None
    for step in steps:
        log.gandist_on_log(step=step, scalars={**SCALARS, "images": 8.0 * step})
    log.gandist_on_samples(step=steps[-1], images=torch.randn(64, 2))
    log.gandist_on_train_end(error=None)
    return warnings


def test_offline_run_is_read_back(tmp_path: Path):
    watcher = Wandb(mode="offline", project="gandist-test", tags=("a", "b"))
    assert train(watcher, tmp_path, range(1, 4)) == []
    (segment,) = segments(tmp_path)
    kinds: dict[str, list[dict[str, Any]]] = {}
    for record in records(segment):
        kinds.setdefault(record["type"], []).append(record[record["type"]])

    (about,) = kinds["run"]
    assert (about["run_id"], about["project"], about["tags"]) == ("tiny-1", "gandist-test", ["a", "b"])
    config = {key: value for key, value in about["config"]["update"].items() if key != "_wandb"}
    assert config == tiny.config().model_dump(mode="json")

    axes = {metric.get("name") or metric["glob_name"]: metric for metric in kinds["metric"]}
    assert axes["*"]["step_metric"] == "images"
    assert axes["images"]["options"]["hidden"]

    rows = [one["item"] for one in kinds["history"]]
    assert [row["images"] for row in rows] == [8, 16, 24, 24]
    assert [row["loss/generator/total"] for row in rows[:3]] == [0.5] * 3
    file = segment / "files" / rows[3]["samples.path"]
    assert sha256(file.read_bytes()).hexdigest() == rows[3]["samples.sha256"]
    assert (rows[3]["samples.width"], rows[3]["samples.height"]) == (480, 480)


@pytest.mark.parametrize("machine", [False, True])
def test_the_machine_is_described_only_when_asked(tmp_path: Path, machine: bool):
    train(Wandb(mode="offline", machine=machine), tmp_path, range(1, 2))
    (log,) = segments(tmp_path)[0].glob("*.wandb")
    assert (platform.node().encode() in log.read_bytes()) == machine


def test_resumed_run_keeps_its_id_and_repeats_no_row(tmp_path: Path):
    watcher = Wandb(mode="offline")
    train(watcher, tmp_path, range(1, 5))
    train(watcher, tmp_path, range(3, 7), resumed_from=2)
    first, second = (history(segment) for segment in segments(tmp_path))
    assert [row["images"] for row in first + second] == [8, 16, 24, 32, 32, 40, 48, 48]
    assert {file.name for segment in segments(tmp_path) for file in segment.glob("*.wandb")} == {"run-tiny-1.wandb"}
    train(watcher, tmp_path, range(1, 2))
    assert [row["images"] for row in history(segments(tmp_path)[-1])] == [8, 8]


def test_unreachable_server_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("gandist.tracking.wandb.INIT_TIMEOUT", 3)
    (warning,) = train(Wandb(mode="online"), tmp_path, range(1, 4))
    assert "wandb sync" in warning
    (segment,) = segments(tmp_path)
    assert [row["images"] for row in history(segment)] == [8, 16, 24, 24]


def test_online_without_a_key_is_a_warning(tmp_path: Path):
    # The client keeps a key for as long as its process lives, hence a process without one.
    script = (
        "import sys, pathlib, test_wandb as t;"
        "print(t.train(t.Wandb(mode='online'), pathlib.Path(sys.argv[1]), range(1, 2)))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    assert "No API key configured" in result.stdout
    assert "wandb sync" in result.stdout
    assert len(segments(tmp_path)) == 1


def test_broken_client_is_a_warning(tmp_path: Path):
    # A file where the client wants its folder.
    (tmp_path / "wandb").write_text("")
    warnings: list[str] = []
    assert Wandb(mode="offline").watch(tiny.view(tmp_path, warnings=warnings)) is None
    assert len(warnings) == 1


def test_off_by_default(tmp_path: Path):
    assert Wandb().watch(tiny.view(tmp_path)) is None
    assert not (tmp_path / "wandb").exists()
