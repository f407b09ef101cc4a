"""Sweeps as a user starts them, with killed trials and killed drivers: nothing is lost, nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.buckets import bucket
from tests.processes import descendants, kill_tree, run, start, wait_for

SWEEP = Path(__file__).parents[1] / "configs" / "sweep-digits.yaml"
SMALL = [
    "dataset.size=16", "architecture.width=8", "architecture.latent=16", "train.images=19200", "train.log_every=25",
    "train.save_every=25", "train.sample_every=0", "evaluate.every=100", "evaluate.count=200",
]  # fmt: skip


def results(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "results.json"
    if not path.is_file():
        return {}
    return {row["trial"]: row for row in json.loads(path.read_text())["trials"]}


def steps(trial: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (trial / "metrics.jsonl").read_text().splitlines()]


def owner(trial: Path) -> int:
    """The process that owns a trial's run folder, 0 if none does."""
    lock = trial / ".lock"
    return int(lock.read_text().rpartition(" ")[2] or 0) if lock.is_file() else 0


@pytest.mark.slow
def test_asha_over_the_digits_survives_a_killed_trial(tmp_path: Path):
    process = start("sweep", str(SWEEP), *SMALL, cwd=tmp_path)
    folder = tmp_path / "runs" / "sweep-digits"
    victim = folder / "trial-00001"
    # Before its first evaluation, at step 100: a trial that was told to stop would not go on after its death. The whole
    # name, as a checkpoint that is still being written has a longer one, and would let the trial begin at step 0.
    whole = victim / "checkpoints" / "step-00000025"
    wait_for(whole.is_dir, process, "a checkpoint of the second trial")
    assert owner(victim) in descendants(process.pid)
    os.kill(owner(victim), signal.SIGKILL)
    out, _ = process.communicate(timeout=400)
    said = (tmp_path / "stderr.txt").read_text()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    found = results(folder)
    assert sorted(found) == [f"trial-{number:05d}" for number in range(8)]
    assert {row["status"] for row in found.values()} == {"done", "stopped early"}, said
    assert "trial-00001  its process was lost; it begins again" in said, said
    assert "trial-00001  goes on from step " in said, said
    for name, row in found.items():
        assert len(set(steps(folder / name))) == len(steps(folder / name)), "no step twice, also where it was killed"
        assert (folder / name / "result.json").is_file() == (row["status"] == "done")
        assert (folder / name / "checkpoints").is_dir(), "also a trial that was stopped early can go on"
    done = [row for row in found.values() if row["status"] == "done"]
    best = min(done, key=lambda row: row["value"])
    written = (folder / "best.yaml").read_text()
    assert written.startswith("# gandist train runs/sweep-digits/best.yaml\n")
    config = yaml.safe_load(written)
    assert config["optimizer"]["generator"]["lr"] == best["values"]["optimizer.generator.lr"]
    assert json.loads((folder / "results.json").read_text())["best"] == best["trial"]
    assert out.splitlines()[0].split() == [
        "trial", "status", "frechet", "images",
        "optimizer.generator.lr", "optimizer.discriminator.lr", "loss.regularizers.0.weight",
    ]  # fmt: skip

    trained = run("train", "runs/sweep-digits/best.yaml", "train.images=640", "--json", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["steps"] == 10
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock" and path.is_file()}
    again = run("sweep", str(SWEEP), *SMALL, "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "is finished" in again.stderr
    assert json.loads(again.stdout)["best"] == best["trial"]
    assert before == {path: path.stat().st_mtime_ns for path in before}


def sweep(tmp_path: Path) -> str:
    """Three trials of one Ray Train worker each."""
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump(
            {
                "config": str(SWEEP.with_name("digits.yaml")),
                "search": {"run.seed": [0, 1, 2]},
                "metric": "smallest_class",
                "mode": "max",
                "scheduler": "none",
                "concurrent": 2,
                "overrides": {
                    "cluster.workers": 1,
                    "dataset.size": 16,
                    "architecture.width": 8,
                    "train.images": 64 * 200,
                    "train.log_every": 25,
                    "train.save_every": 25,
                    "train.sample_every": 0,
                    "evaluate.every": 100,
                    "evaluate.metrics": ["classes"],
                    "evaluate.count": 200,
                },
            }
        )
    )
    return "mine.yaml"


@pytest.mark.slow
def test_a_sweep_that_is_stopped_and_killed_goes_on_with_the_same_command(tmp_path: Path):
    folder = tmp_path / "runs" / "mine"
    process = start("sweep", sweep(tmp_path), cwd=tmp_path)
    first = folder / "trial-00000"
    wait_for(lambda: (first / "checkpoints" / "step-00000025").is_dir(), process, "a checkpoint")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    said = (tmp_path / "stderr.txt").read_text()
    assert process.returncode == 3, said
    assert "the same command goes on" in said
    assert not [row for row in results(folder).values() if row["status"] == "running"]

    process = start("sweep", "mine.yaml", cwd=tmp_path)
    wait_for(lambda: any(row["status"] == "done" for row in results(folder).values()), process, "a trial that is done")
    finished = next(name for name, row in results(folder).items() if row["status"] == "done")
    kill_tree(process)
    made = (folder / finished / "generator.safetensors").stat().st_mtime_ns

    other = run("sweep", "mine.yaml", "train.batch_size=32", cwd=tmp_path)
    assert other.returncode == 2
    assert "holds a run with another config" in other.stderr
    (tmp_path / "stderr.txt").write_text("")
    process = start("sweep", "mine.yaml", "--json", cwd=tmp_path)
    victim = next(name for name in ("trial-00002", "trial-00001") if results(folder)[name]["status"] != "done")
    wait_for(lambda: owner(folder / victim) in descendants(process.pid), process, "a trial with a Ray Train worker")
    os.kill(owner(folder / victim), signal.SIGKILL)
    out, _ = process.communicate(timeout=300)
    said = (tmp_path / "stderr.txt").read_text()
    assert process.returncode == 0, said
    assert f"{victim}  its process was lost; it begins again" in said
    told = json.loads(out)
    assert {row["status"] for row in told["trials"]} == {"done"}
    assert [row["value"] for row in told["trials"]] == sorted((row["value"] for row in told["trials"]), reverse=True)
    assert f"{finished}  begins" not in said
    assert (folder / finished / "generator.safetensors").stat().st_mtime_ns == made
    for row in told["trials"]:
        assert steps(folder / row["trial"]) == list(range(25, 201, 25))
        assert [step for step, _, _ in row["history"]] == [100, 200]


@pytest.mark.slow
def test_a_sweep_may_lie_on_object_storage(tmp_path: Path):
    points = {
        "dataset": {"name": "gaussians", "count": 1000},
        "architecture": {"name": "mlp", "width": 8},
        "loss": {"name": "non-saturating"},
        "train": {"images": 16 * 100, "batch_size": 16, "log_every": 50, "sample_every": 0},
        "cluster": {"workers": 0},
        "evaluate": {"every": 50, "metrics": ["modes"], "count": 200},
    }
    (tmp_path / "points.yaml").write_text(yaml.safe_dump(points))
    (tmp_path / "far.yaml").write_text("config: points.yaml\nsearch: {run.seed: [0, 1]}\nmetric: good\nmode: max\n")
    with bucket() as s3:
        command = ["sweep", "far.yaml", f"cluster.storage={s3.url('runs')}"]
        ended = run(*command, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        there = s3.names("runs/far")
        assert {"results.json", "results.csv", "best.yaml"} <= set(there)
        assert {"trial-00000/generator.safetensors", "trial-00001/result.json"} <= set(there)
        assert ".lock" not in there
        told = json.loads(s3.read("runs/far/results.json"))
        assert [row["status"] for row in told["trials"]] == ["done", "done"]
        again = run(*command, cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert "bucket/runs/far is finished" in again.stderr
    assert not (tmp_path / "runs").exists()
