"""`gandist train` on real Ray workers, and what happens when one of them is killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml

from gandist.launch import ray_cluster
from tests.processes import kill_tree, run, start, training_workers, wait_for
from tests.ranks import train_on_ranks

STEPS, EVERY = 200, 50


def config(workers: int, **train: Any) -> dict[str, Any]:
    return {
        "run": {"name": "small", "seed": 1},
        "dataset": {"name": "digits", "size": 16},
        "architecture": {"name": "dcgan", "width": 8, "latent": 16, "norm": "spectral"},
        "loss": {"name": "non-saturating", "regularizers": [{"name": "r1", "every": 4}]},
        "train": {"images": 16 * STEPS, "batch_size": 16, "log_every": 10, "save_every": EVERY, "keep": 10, **train},
        "cluster": {"workers": workers},
    }


def write(folder: Path, mapping: dict[str, Any]) -> str:
    (folder / "small.yaml").write_text(yaml.safe_dump(mapping))
    return "small.yaml"


def undisturbed(folder: Path, workers: int) -> str:
    """SHA-256 of the generator of the same run on as many ranks, which nothing disturbs and Ray does not touch."""
    train_on_ranks(workers, [{"config": config(workers), "folder": str(folder)}])
    return digest(folder)


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "generator.safetensors").read_bytes()).hexdigest()


def steps(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def saved(folder: Path, step: int) -> bool:
    return (folder / "checkpoints" / f"step-{step:08d}").is_dir()


def last_saved(folder: Path) -> int:
    return max(int(path.name.removeprefix("step-")) for path in (folder / "checkpoints").glob("step-????????"))


@pytest.mark.slow
def test_killed_workers_change_nothing(tmp_path: Path):
    """One of two Ray workers killed in mid-run, later the other told to end: the run finishes with the same bits."""
    process = start("train", write(tmp_path, config(2)), cwd=tmp_path)
    folder = tmp_path / "runs" / "small"
    wait_for(lambda: saved(folder, EVERY), process, "the first checkpoint")
    workers = training_workers(process.pid)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    wait_for(lambda: saved(folder, 3 * EVERY), process, "a checkpoint of those that took over")
    again = training_workers(process.pid)
    assert len(again) == 2
    assert not set(again) & set(workers)
    os.kill(again[0], signal.SIGTERM)
    process.communicate(timeout=300)
    said = (tmp_path / "stderr.txt").read_text()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert digest(folder) == undisturbed(tmp_path / "undisturbed", 2)
    assert steps(folder) == list(range(10, STEPS + 1, 10))
    result = json.loads((folder / "result.json").read_text())
    assert list(result) == ["metrics", "images", "steps", "seconds", "images_per_second"]
    assert (result["steps"], result["images"]) == (STEPS, 16 * STEPS)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["small"], "nothing but run folders in runs/"
    once_more = run("train", "small.yaml", cwd=tmp_path)
    assert once_more.returncode == 0
    assert "finished" in once_more.stdout + once_more.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.arithmetic), 3])
def test_a_killed_run_goes_on_with_the_same_command(tmp_path: Path, workers: int):
    """The driver is killed alone, then everything; tests/test_resume.py kills 1, 2 and 3 ranks without Ray."""
    # As the undisturbed run, whatever the machine: without workers a run has the threads that its process has.
    alike = {"cwd": tmp_path, "OMP_NUM_THREADS": "1"}
    process = start("train", write(tmp_path, config(workers)), **alike)
    folder = tmp_path / "runs" / "small"
    wait_for(lambda: saved(folder, EVERY), process, "a checkpoint")
    # Its workers are orphans for some seconds more, while the same command takes the run over.
    process.kill()
    process.wait()
    process = start("train", "small.yaml", **alike)
    wait_for(lambda: saved(folder, 3 * EVERY), process, "a checkpoint of the second command")
    kill_tree(process)
    assert not (folder / "result.json").exists()
    again = run("train", "small.yaml", **alike)
    assert again.returncode == 0, again.stderr
    assert digest(folder) == undisturbed(tmp_path / "undisturbed", max(1, workers))
    assert steps(folder) == list(range(10, STEPS + 1, 10))


@pytest.mark.slow
def test_hours_and_a_signal_end_a_run_with_a_checkpoint_and_3(tmp_path: Path):
    endless = f"train.images={16 * 1_000_000}"
    ended = run("train", write(tmp_path, config(2, hours=45 / 3600)), endless, cwd=tmp_path)
    folder = tmp_path / "runs" / "small"
    assert ended.returncode == 3, ended.stderr
    assert "train.hours is nearly over" in ended.stderr
    first = last_saved(folder)

    process = start("train", "small.yaml", endless, "train.hours=null", cwd=tmp_path)
    wait_for(lambda: last_saved(folder) > first, process, "a checkpoint of the second command")
    refused = run("train", "small.yaml", cwd=tmp_path)
    assert refused.returncode == 2
    assert f"pid {process.pid}" in refused.stderr
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 3, (tmp_path / "stderr.txt").read_text()
    last = last_saved(folder)
    assert 0 <= last - steps(folder)[-1] < 10, "it left at the end of a step, not at the next log line"
    end = f"train.images={16 * (last + 20)}"
    going_on = run("train", "small.yaml", end, "train.hours=null", cwd=tmp_path)
    assert going_on.returncode == 0, going_on.stderr
    assert steps(folder) == sorted({*range(10, last + 20, 10), last + 20})


@pytest.mark.parametrize(
    ("address", "said"), [("127.0.0.1:9", "nothing answers there"), ("somewhere", "should be auto, HOST:PORT")]
)
def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path: Path, address: str, said: str):
    ended = run("train", write(tmp_path, config(2)), "--address", address, cwd=tmp_path, timeout=60)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "runs" / "small").exists()


@pytest.mark.parametrize("which", [lambda: ray_cluster.local_ray(1, 0), lambda: ray_cluster.joined_ray("auto")])
def test_what_ray_prints_is_no_part_of_the_result(
    which: Callable[[], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    import ray

    monkeypatch.setattr(ray, "init", lambda **_: print("(raylet) starting"))
    monkeypatch.setattr(ray, "shutdown", lambda: print("(raylet) a node is gone"))
    for name in {**ray_cluster._QUIET, **ray_cluster._ALONE, **ray_cluster._JOINED}:
        monkeypatch.setenv(name, "set by the test")
    with which():
        print("(raylet) a worker died")
    print("result")
    assert capsys.readouterr().out == "result\n"


def test_a_local_ray_asks_no_server_that_the_user_has_named(monkeypatch: pytest.MonkeyPatch):
    import ray

    seen: list[str] = []
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://the.cluster:8265")
    monkeypatch.setattr(ray, "init", lambda **_: seen.append(os.environ["RAY_API_SERVER_ADDRESS"]))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with ray_cluster.local_ray(1, 0):
        pass
    assert not seen[0].startswith("http")
    assert os.environ["RAY_API_SERVER_ADDRESS"] == "http://the.cluster:8265"
