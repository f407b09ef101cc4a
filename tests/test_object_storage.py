"""Runs on object storage, against a real S3-compatible server: killed, disturbed, owned by one driver."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.multiprocessing import ProcessExitedException

from gandist.config.storage import run_url
from tests.buckets import Bucket, bucket, flaky
from tests.processes import kill_tree, run, start, wait_for
from tests.ranks import kill_tree as kill_ranks
from tests.ranks import start as start_ranks
from tests.ranks import train_on_ranks
from tests.test_resume import EVERY, STEPS, config, digest

FILES = ["config.yaml", "manifest.json", "networks.safetensors", "state.pt"]


@pytest.fixture(scope="module")
def s3() -> Iterator[Bucket]:
    with bucket() as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SHA-256 of the generator of the same run in a plain folder, on two ranks."""
    folder = tmp_path_factory.mktemp("undisturbed")
    train_on_ranks(2, [{"config": config(), "folder": str(folder)}])
    return digest(folder)


def train(world: int, url: str, folder: Path, **train: Any) -> None:
    given = config()
    given["train"] |= train
    train_on_ranks(world, [{"config": given, "folder": str(folder), "url": url}])


def generator(s3: Bucket, name: str) -> str:
    return hashlib.sha256(s3.read(f"{name}/generator.safetensors")).hexdigest()


def logged(s3: Bucket, name: str) -> list[int]:
    return [json.loads(line)["step"] for line in s3.read(f"{name}/metrics.jsonl").splitlines()]


def checkpoints(s3: Bucket, name: str) -> list[str]:
    return sorted({path.partition("/")[0] for path in s3.names(f"{name}/checkpoints/")})


def test_a_killed_run_goes_on_bit_for_bit(s3: Bucket, undisturbed: str, tmp_path: Path):
    spec = {"config": config(), "folder": str(tmp_path / "killed"), "url": s3.url("runs/killed")}
    process = start_ranks(2, spec, tmp_path)
    deadline = time.monotonic() + 120
    while f"checkpoints/step-{EVERY:08d}/manifest.json" not in s3.names("runs/killed/"):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the run did not reach its checkpoint"
        time.sleep(0.02)
    kill_ranks(process)
    assert "generator.safetensors" not in s3.names("runs/killed/")
    # On machines that have seen nothing of the first attempt.
    train(2, s3.url("runs/killed"), tmp_path / "again")
    assert generator(s3, "runs/killed") == undisturbed
    assert logged(s3, "runs/killed") == list(range(5, STEPS + 1, 5))


def test_only_the_newest_checkpoints_stay_each_whole(s3: Bucket, tmp_path: Path):
    s3.write("runs/kept/checkpoints/step-00000003/state.pt", b"an upload that a crash cut short")
    train(1, s3.url("runs/kept"), tmp_path, keep=2, sample_every=20)
    assert s3.names("runs/kept/checkpoints/") == [f"step-{step:08d}/{file}" for step in (30, 40) for file in FILES]
    assert s3.names("runs/kept/samples/") == ["step-00000020.png", "step-00000040.png"]


@pytest.mark.slow
@pytest.mark.arithmetic
def test_storage_that_fails_every_third_request_disturbs_nothing(s3: Bucket, undisturbed: str, tmp_path: Path):
    with flaky(s3) as (port, failed):
        spec = {"config": config(), "folder": str(tmp_path / "first"), "url": s3.url("runs/flaky", port)}
        with pytest.raises(ProcessExitedException):
            train_on_ranks(2, [{**spec, "die_at": 3 * EVERY + 5}])
        assert checkpoints(s3, "runs/flaky"), "one had gone there"
        train(2, s3.url("runs/flaky", port), tmp_path / "second")
    assert {503, None, 500, 403} <= set(failed)
    assert generator(s3, "runs/flaky") == undisturbed
    assert logged(s3, "runs/flaky") == list(range(5, STEPS + 1, 5))


@pytest.mark.parametrize(
    ("file", "how", "said"),
    [
        ("networks.safetensors", "truncated", "networks.safetensors has 100 bytes, should have"),
        ("state.pt", "flipped", "state.pt has another SHA-256"),
        ("state.pt", "missing", "state.pt is missing"),
        ("manifest.json", "missing", "manifest.json is missing: its upload was not finished"),
    ],
)
def test_the_checkpoint_before_a_damaged_one_is_used(
    s3: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, how: str, said: str
):
    name = f"runs/{how}-{file}"
    train(1, s3.url(name), tmp_path / "first", sample_every=0)
    before = generator(s3, name)
    s3.delete(f"{name}/generator.safetensors")
    newest = f"{name}/checkpoints/step-{STEPS:08d}/{file}"
    content = bytearray(s3.read(newest))
    content[-1] ^= 1
    s3.delete(newest) if how == "missing" else s3.write(newest, content[:100] if how == "truncated" else content)
    train(1, s3.url(name), tmp_path / "second")
    printed = capsys.readouterr().out
    assert f"step-{STEPS:08d} is damaged ({said}" in printed
    assert f"going on from step-{STEPS - EVERY:08d}" in printed
    assert generator(s3, name) == before
    assert logged(s3, name) == list(range(5, STEPS + 1, 5))


def write(folder: Path, storage: str, workers: int, **sections: Any) -> str:
    given = {**config(), "cluster": {"workers": workers, "storage": storage}, **sections}
    (folder / "resume.yaml").write_text(yaml.safe_dump(given))
    return "resume.yaml"


def lock(s3: Bucket, name: str, **entries: Any) -> None:
    owner = {"host": "elsewhere", "pid": 4711, "machine": "another", "token": "theirs", "time": time.time()}
    s3.write(f"{name}/.lock", json.dumps(owner | entries).encode())


def test_a_run_that_somebody_else_owns_is_refused_with_host_and_pid(s3: Bucket, tmp_path: Path):
    lock(s3, "owned/resume")
    ended = run("train", write(tmp_path, s3.url("owned"), 0), cwd=tmp_path)
    assert ended.returncode == 2
    assert "s3://bucket/owned/resume is in use by host elsewhere, pid 4711" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert s3.names("owned/resume/") == [".lock"]


@pytest.mark.slow
@pytest.mark.arithmetic
def test_the_command_owns_finishes_refuses_another_config_and_moves_aside(s3: Bucket, tmp_path: Path):
    """In one process: the lock of a dead owner, the files in the bucket, a finished run, --fresh."""
    lock(s3, "local/resume", time=time.time() - 1000)
    first = run("train", write(tmp_path, s3.url("local"), 0), cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "took s3://bucket/local/resume over from host elsewhere, pid 4711" in first.stderr
    assert f"saved s3://bucket/local/resume/checkpoints/step-{STEPS:08d}" in first.stderr
    assert "s3://bucket/local/resume" in first.stdout
    names = s3.names("local/resume/")
    assert {"config.yaml", "result.json", "metrics.jsonl", "generator.safetensors"} <= set(names)
    assert ".lock" not in names
    assert not (tmp_path / "runs").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["resume.yaml"], "nothing of the run stays here"
    finished = run("train", "resume.yaml", cwd=tmp_path)
    assert finished.returncode == 0
    assert f"s3://bucket/local/resume is finished: {STEPS} steps" in finished.stderr
    other = run("train", "resume.yaml", "train.batch_size=4", cwd=tmp_path)
    assert other.returncode == 2
    assert "s3://bucket/local/resume holds a run with another config" in other.stderr
    before = generator(s3, "local/resume")
    fresh = run("train", "resume.yaml", "run.seed=2", "--fresh", cwd=tmp_path)
    assert fresh.returncode == 0, fresh.stderr
    aside = sorted({name.partition("/")[0] for name in s3.names("local/")} - {"resume"})
    assert len(aside) == 1
    assert aside[0].startswith("resume.")
    assert s3.names(f"local/{aside[0]}/") == names
    assert generator(s3, f"local/{aside[0]}") == before != generator(s3, "local/resume")


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("s3://AKIAKEY:hush@bucket/runs", "holds credentials"),
        ("s3://AKIAKEY:hu/sh@bucket/runs", "holds credentials"),
        ("s3://bucket/runs?region=us-east-1&secret_key=hush", "holds credentials"),
        ("s3://bucket/runs?session_token=hush", "holds credentials"),
        ("abfss://account:hush@data/runs", "holds credentials"),
        ("ftp://bucket/runs", "Unrecognized filesystem type in URI"),
        ("s3://bucket/runs?colour=red", "Unexpected query parameter in S3 URI: 'colour'"),
    ],
)
def test_a_url_with_credentials_or_that_nobody_reads_is_refused(tmp_path: Path, storage: str, said: str):
    ended = run("train", write(tmp_path, storage, 2), cwd=tmp_path)
    assert ended.returncode == 2
    assert "cluster.storage" in ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "hush" not in ended.stderr + ended.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["resume.yaml"]


def test_a_bucket_that_is_not_there_is_told_before_anything_starts(s3: Bucket, tmp_path: Path):
    missing = s3.url("runs").replace("s3://bucket", "s3://no-such-bucket")
    ended = run("train", write(tmp_path, missing, 2), cwd=tmp_path)
    assert ended.returncode == 2
    assert "cluster.storage: cannot be read and written: s3://no-such-bucket/runs/resume" in ended.stderr
    assert "starting Ray" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_url_of_a_run_keeps_the_query():
    assert run_url("s3://bucket/some/?region=x&scheme=http", "a.b") == "s3://bucket/some/a.b?region=x&scheme=http"
    assert run_url("gs://bucket", "one") == "gs://bucket/one"


@pytest.mark.slow
def test_a_killed_command_on_ray_goes_on_and_ends_with_everything_in_the_bucket(
    s3: Bucket, undisturbed: str, tmp_path: Path
):
    train_on_ray = config()["train"] | {"sample_every": 20}
    process = start("train", write(tmp_path, s3.url("ray"), 2, train=train_on_ray), cwd=tmp_path)
    # While the first one starts Ray: forty steps may take less time than a second command needs to look.
    wait_for(lambda: ".lock" in s3.names("ray/resume/"), process, "the lock")
    refused = run("train", "resume.yaml", cwd=tmp_path)
    assert refused.returncode == 2
    assert f"pid {process.pid}" in refused.stderr
    first = f"checkpoints/step-{EVERY:08d}/manifest.json"
    wait_for(lambda: first in s3.names("ray/resume/"), process, "the first checkpoint")
    assert process.poll() is None, "the run ended before it could be killed"
    kill_tree(process)
    again = run("train", "resume.yaml", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "Traceback" not in again.stderr
    assert generator(s3, "ray/resume") == undisturbed
    assert logged(s3, "ray/resume") == list(range(5, STEPS + 1, 5))
    names = s3.names("ray/resume/")
    assert {"config.yaml", "result.json", "samples/step-00000020.png", "samples/step-00000040.png"} <= set(names)
    assert ".lock" not in names
    assert json.loads(s3.read("ray/resume/result.json"))["steps"] == STEPS
