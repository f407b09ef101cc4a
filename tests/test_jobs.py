"""Jobs on a cluster of three hosts, submitted from a fourth with a plugin that only that one has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.hosts import HEAD, Hosts
from tests.on_hosts import Record
from tests.processes import install

pytestmark = pytest.mark.slow

LAPTOP = "h3"
STEPS, EVERY, BATCH = 250, 50, 16
GANDIST = [sys.executable, "-m", "gandist"]
ROOT = str(Path(__file__).parents[1])


@pytest.fixture(scope="module")
def cluster(share: Path) -> Iterator[Hosts]:
    """A head without CPUs and two workers, none of which has the plugin."""
    # What ray start is typed in: an environment with its Python first on the path.
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    with Hosts(share / "hosts", environment={"PATH": path}, jobs=True) as hosts:
        hosts.visit(LAPTOP)
        yield hosts


@pytest.fixture(scope="module")
def site(share: Path) -> str:
    """Where the unpublished plugin lies; only the fourth host looks there."""
    return install(share, "recording", "recording", Path(__file__).with_name("recording.py").read_text())


class Laptop:
    """The fourth host: commands are typed there, in a folder of its own."""

    def __init__(self, hosts: Hosts, folder: Path, site: str):
        self._hosts, self._folder = hosts, folder
        self._folder.mkdir(exist_ok=True)
        path = os.pathsep.join([site, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self._before = ["env", f"PYTHONPATH={path}", f"RAY_API_SERVER_ADDRESS={hosts.url}"]

    def run(self, *arguments: str, timeout: float = 240, **environment: str) -> subprocess.CompletedProcess[str]:
        extra = [f"{name}={value}" for name, value in environment.items()]
        return self._hosts.run(LAPTOP, *self._before, *extra, *GANDIST, *arguments, cwd=self._folder, timeout=timeout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return self._hosts.start(LAPTOP, *self._before, *GANDIST, *arguments, cwd=self._folder, **pipes)

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def laptop(cluster: Hosts, share: Path, site: str) -> Laptop:
    return Laptop(cluster, share / "laptop", site)


def write(share: Path, name: str) -> Record:
    """The config of a run on two hosts whose loss is the unpublished plugin's."""
    record = Record(share, name)
    config = {
        "run": {"name": name, "seed": 1},
        "dataset": {"name": "numbered-digits", "size": 16},
        "architecture": {"name": "dcgan", "width": 8, "latent": 16, "norm": "spectral"},
        "loss": {"name": "recorded", "folder": str(record.place), "regularizers": [{"name": "r1", "every": 4}]},
        "train": {"images": BATCH * STEPS, "batch_size": BATCH, "log_every": 10, "save_every": EVERY, "keep": 10},
        "cluster": {"workers": 2, "storage": str(share / "runs")},
    }
    (share / "laptop" / f"{name}.yaml").write_text(yaml.safe_dump(config))
    return record


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {seconds:.0f} s"
        time.sleep(0.1)


def checkpoints(folder: Path) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in (folder / "checkpoints").iterdir())


def test_a_run_is_submitted_watched_stopped_and_resumed_from_a_laptop(share: Path, laptop: Laptop):
    record = write(share, "laptop-run")
    sent = laptop.json("submit", "laptop-run.yaml")
    assert sent["job"].startswith("laptop-run-")
    assert set(sent["shipped"]) == {"gandist", "recording"}
    follower = laptop.start("jobs", "logs", "laptop-run", "--follow")
    wait_for(lambda: record.step >= EVERY + 17, "step after the first checkpoint")
    assert {row["host"] for row in record.seen} == {"h1", "h2"}
    status = laptop.json("jobs", "status", "laptop-run")
    assert (status["job"], status["status"], status["exit_code"]) == (sent["job"], "RUNNING", None)
    assert "step" in status["last"]
    too_early = laptop.run("jobs", "resume", "laptop-run")
    assert too_early.returncode == 2
    assert f"{sent['job']} is running" in too_early.stderr
    twice = laptop.run("submit", "laptop-run.yaml")
    assert twice.returncode == 2
    assert f"run laptop-run is running already, as job {sent['job']}" in twice.stderr
    stopped = laptop.json("jobs", "stop", sent["job"])
    assert stopped["status"] == "STOPPED"
    followed, _ = follower.communicate(timeout=60)
    assert follower.returncode == 3, followed
    assert "training laptop-run: 250 steps on 2 workers" in followed
    assert "with a checkpoint; the same command goes on" in followed
    folder = share / "runs" / "laptop-run"
    assert checkpoints(folder)[-1] % EVERY, "saved at once and not at the next regular checkpoint"
    versions = json.loads(max((folder / "checkpoints").glob("*/manifest.json")).read_text())["versions"]
    assert {name: versions[name] for name in sent["shipped"]} == sent["shipped"]

    record.pace(0.0)
    resumed = laptop.run("jobs", "resume", "laptop-run", "--follow")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "going on from step" in resumed.stdout
    assert record.done_again() == []
    assert json.loads((folder / "result.json").read_text())["steps"] == STEPS
    listed = laptop.json("jobs", "list")
    assert [(job["run"], job["status"]) for job in listed] == [("laptop-run", "SUCCEEDED"), ("laptop-run", "STOPPED")]
    assert laptop.json("jobs", "status", "laptop-run")["job"] == listed[0]["job"] != sent["job"]
    said = laptop.run("jobs", "logs", sent["job"]).stdout
    assert "saved" in said
    assert laptop.json("jobs", "logs", sent["job"])["log"] == said


def test_a_plugin_that_the_cluster_lacks_is_named_with_the_node(share: Path, laptop: Laptop):
    write(share, "bare")
    said = laptop.run("submit", "bare.yaml", "--no-ship", "--follow")
    assert said.returncode == 2, said.stdout + said.stderr
    assert f"node {HEAD} " in said.stdout
    assert "lacks plugin recording 1.0, which brings dataset 'numbered-digits', loss 'recorded'" in said.stdout
    assert "Traceback" not in said.stdout
    assert not (share / "runs" / "bare").exists()


def test_every_node_is_asked_what_it_has(cluster: Hosts, share: Path, site: str):
    """The command is typed on the head, where the plugin is; the nodes are without it."""
    record = write(share, "half")
    path = os.pathsep.join([site, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    command = [*GANDIST, "train", str(share / "laptop" / "half.yaml"), "--address", cluster.address]
    said = cluster.run(HEAD, "env", f"PYTHONPATH={path}", *command, cwd=share)
    assert said.returncode == 2, said.stderr
    for name in ("h1", "h2"):
        assert f"node {name} (10.77.0." in said.stderr
    assert said.stderr.count("lacks plugin recording 1.0") == 3
    assert "Traceback" not in said.stderr
    assert record.seen == []
    assert not (share / "runs" / "half").exists()


def test_a_job_survives_the_loss_of_a_workers_host(cluster: Hosts, share: Path, laptop: Laptop):
    record = write(share, "loss-of-host")
    job = laptop.start("submit", "loss-of-host.yaml", "--follow", "--json")
    wait_for(lambda: record.step >= EVERY + 17, "step after the first checkpoint")
    cluster.crash("h2")
    cluster.boot("h2")
    record.pace(0.0)
    out, err = job.communicate(timeout=240)
    assert job.returncode == 0, err
    assert json.loads(out)["code"] == 0
    assert err.count("training loss-of-host: 250 steps on 2 workers") == 2
    assert 0 < len(record.done_again()) <= EVERY


def test_a_job_is_killed_where_nobody_wants_its_checkpoint(share: Path, laptop: Laptop):
    record = write(share, "killed")
    laptop.json("submit", "killed.yaml")
    wait_for(lambda: record.step >= 20, "twentieth step")
    record.pace(20)
    assert laptop.json("jobs", "stop", "killed", "--now")["status"] == "STOPPED"
    folder = share / "runs" / "killed"
    assert not (folder / "checkpoints").exists() or checkpoints(folder) == []
    assert [job["run"] for job in laptop.json("jobs", "list")].count("killed") == 1
    assert "had ended before" in laptop.run("jobs", "stop", "killed").stdout


def test_a_wrong_token_is_one_line(laptop: Laptop):
    said = laptop.run("jobs", "list", RAY_AUTH_TOKEN="0" * 64)
    assert said.returncode == 2
    assert "the token is wrong" in said.stderr
    assert len(said.stderr.splitlines()) == 1
    unknown = laptop.run("jobs", "status", "no-such-run")
    assert unknown.returncode == 2
    assert "knows no job and no run no-such-run" in unknown.stderr
