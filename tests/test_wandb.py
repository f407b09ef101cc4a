"""Weights & Biases, with its real client: what lies on disk is read back with the reader that it ships."""

import json
import platform
import subprocess
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import wandb
from wandb_server import served

from gandist.tracking import aside
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
    log.gandist_on_pictures(step=steps[-1], pictures={"test-error": torch.zeros(3, 20, 30, dtype=torch.uint8)})
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
    assert [row["images"] for row in rows] == [8, 16, 24, 24, 24]
    assert [row["loss/generator/total"] for row in rows[:3]] == [0.5] * 3
    file = segment / "files" / rows[3]["samples.path"]
    assert sha256(file.read_bytes()).hexdigest() == rows[3]["samples.sha256"]
    assert (rows[3]["samples.width"], rows[3]["samples.height"]) == (480, 480)
    drawn = {key.removeprefix("pictures/test-error."): value for key, value in rows[4].items()}
    assert (drawn["width"], drawn["height"]) == (30, 20)
    assert sha256((segment / "files" / drawn["path"]).read_bytes()).hexdigest() == drawn["sha256"]


@pytest.mark.parametrize("machine", [False, True])
def test_the_machine_is_described_only_when_asked(tmp_path: Path, machine: bool):
    assert train(Wandb(mode="offline", machine=machine), tmp_path, range(1, 2)) == []
    (log,) = segments(tmp_path)[0].glob("*.wandb")
    # On a busy machine W&B's own process writes the end of the file a moment after it has said that it is done.
    deadline = time.monotonic() + 30
    while b"loss/generator/total" not in log.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (platform.node().encode() in log.read_bytes()) == machine


def test_resumed_run_keeps_its_id_and_repeats_no_row(tmp_path: Path):
    watcher = Wandb(mode="offline")
    train(watcher, tmp_path, range(1, 5))
    train(watcher, tmp_path, range(3, 7), resumed_from=2)
    first, second = (history(segment) for segment in segments(tmp_path))
    assert [row["images"] for row in first + second] == [8, 16, 24, 32, 32, 32, 40, 48, 48, 48]
    assert {file.name for segment in segments(tmp_path) for file in segment.glob("*.wandb")} == {"run-tiny-1.wandb"}
    train(watcher, tmp_path, range(1, 2))
    assert [row["images"] for row in history(segments(tmp_path)[-1])] == [8, 8, 8]


def test_unreachable_server_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("gandist.tracking.wandb.INIT_TIMEOUT", 3)
    (warning,) = train(Wandb(mode="online"), tmp_path, range(1, 4))
    assert "wandb sync" in warning
    (segment,) = segments(tmp_path)
    assert [row["images"] for row in history(segment)] == [8, 16, 24, 24, 24]


def rows_of(folder: Path) -> list[int]:
    """`images` of every row that lies on disk after a run that began online."""
    return [row["images"] for segment in sorted((folder / "wandb").glob("*run-*-*")) for row in history(segment)]


@pytest.mark.parametrize("fault", ["none", "dying", "slow"])
def test_a_bad_server_holds_nothing_up_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("gandist.tracking.wandb.INIT_TIMEOUT", 3)
    monkeypatch.setattr("gandist.tracking.wandb.FINISH_TIMEOUT", 2)
    with served(fault) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        # The client keeps the address that it was started with.
        wandb.teardown()
        warnings = train(Wandb(mode="online"), tmp_path, range(1, 4))
    wandb.teardown()
    assert rows_of(tmp_path) == [8, 16, 24, 24, 24]
    assert any(path.endswith("/graphql") for path in server.asked)
    if fault == "none":
        assert warnings == []
        assert [row["images"] for row in server.rows] == [8, 16, 24, 24, 24]
    else:
        (warning,) = warnings
        assert "wandb sync" in warning
    assert bool(segments(tmp_path)) == (fault == "slow")
    assert len(server.rows) == (0 if fault == "slow" else 5)
    if fault == "none":
        return
    command = warnings[0].partition("wandb sync ")[2].split()
    with served("none") as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        left = [str(folder) for folder in tmp_path.glob(str(Path(command[-1]).relative_to(tmp_path)))]
        sync = [sys.executable, "-m", "wandb", "sync", *command[:-1], *left]
        subprocess.run(sync, cwd=tmp_path, check=True, capture_output=True)
        assert [row["images"] for row in server.rows] == [8, 16, 24, 24, 24]


def test_the_training_does_not_wait_for_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    go, start = threading.Event(), Wandb._start
    monkeypatch.setattr(Wandb, "_start", lambda self, run: (go.wait(60), start(self, run))[1])
    begun: list[int] = []
    log = Wandb(mode="offline").watch(tiny.view(tmp_path))
    assert log is not None
    for step in range(1, 4):
        log.gandist_on_log(step=step, scalars=SCALARS)
        begun.append(step)
    log.gandist_on_samples(step=3, images=torch.randn(64, 2))
    assert begun == [1, 2, 3]
    assert segments(tmp_path) == []
    go.set()
    log.gandist_on_train_end(error=None)
    assert rows_of(tmp_path) == [8, 16, 24, 24]


def test_a_client_that_is_stuck_is_given_up_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    go = threading.Event()
    monkeypatch.setattr(Wandb, "_start", lambda self, run: go.wait(60))
    monkeypatch.setattr("gandist.tracking.wandb.END", 0.2)
    (warning,) = train(Wandb(mode="offline"), tmp_path, range(1, 4))
    assert "it was not done within" in warning
    assert "metrics.jsonl" in warning
    go.set()


@pytest.mark.parametrize(("limit", "said"), [("MOST", "entries behind"), ("STUCK", "has not answered")])
def test_what_waits_for_the_client_never_fills_the_memory(monkeypatch: pytest.MonkeyPatch, limit: str, said: str):
    monkeypatch.setattr(aside, limit, 0 if limit == "STUCK" else 2)
    begun, go, done, lost = threading.Event(), threading.Event(), [], []
    beside = aside.Aside("test", lost.append)
    beside.do(lambda: (begun.set(), go.wait(60)))
    begun.wait(60)
    for number in range(5):
        beside.do(lambda number=number: done.append(number))
    go.set()
    beside.end(60)
    assert done == []
    (reason,) = lost
    assert said in reason


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
    (warning,) = train(Wandb(mode="offline"), tmp_path, range(1, 4))
    assert "W&B is off from here on" in warning


def test_off_by_default(tmp_path: Path):
    assert Wandb().watch(tiny.view(tmp_path)) is None
    assert not (tmp_path / "wandb").exists()
