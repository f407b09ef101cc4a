"""What a cluster's own pages show of a run: the dashboard's Train page, and the values on Ray's Prometheus page."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import kill_tree, run, start, wait_for

SMALL: dict[str, Any] = {
    "run": {"name": "seen"},
    "dataset": {"name": "digits", "size": 16},
    "architecture": {"name": "dcgan", "width": 8, "latent": 16, "norm": "none"},
    "loss": {"name": "non-saturating"},
    "train": {"images": 16 * 100_000, "batch_size": 16, "log_every": 20, "save_every": 1000, "sample_every": 0},
    "cluster": {"workers": 1},
}


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


class Cluster:
    """A Ray of one node with a dashboard, as `ray start` makes it."""

    def __init__(self, folder: Path):
        self.port, self.dashboard, self.metrics = free_port(), free_port(), free_port()
        self.token = secrets.token_hex(32)
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "RAY_USAGE_STATS_ENABLED": "0"}
        ports = ["--port", self.port, "--dashboard-port", self.dashboard, "--metrics-export-port", self.metrics]
        # A short path, for the sockets in it; a folder of its own, since others look for a running Ray in /tmp/ray.
        self.folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
        node = ["--num-cpus", 2, "--object-store-memory", 100 * 2**20, "--node-ip-address", "127.0.0.1", "--block"]
        node += ["--temp-dir", self.folder]
        command = [Path(sys.executable).with_name("ray"), "start", "--head", *ports, *node]
        with (folder / "ray.txt").open("w") as said:
            self.process = subprocess.Popen(
                list(map(str, command)), env={**os.environ, **self.environment}, stdout=said, stderr=said, text=True
            )
        wait_for(lambda: self.get(self.dashboard, "/api/version") is not None, self.process, "a dashboard")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def get(self, port: int, path: str) -> str | None:
        asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
        asked.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return answer.read().decode()
        except (urllib.error.URLError, OSError):
            return None


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("ray"))
    yield made
    kill_tree(made.process)
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.mark.slow
def test_a_run_is_on_the_train_page_and_its_values_on_the_prometheus_page(tmp_path: Path, cluster: Cluster):
    (tmp_path / "seen.yaml").write_text(yaml.safe_dump(SMALL))
    process = start("train", "seen.yaml", "--address", cluster.address, cwd=tmp_path, **cluster.environment)
    gauge = re.compile(r"^ray_gandist_seconds\{(.*)\} (\S+)$", re.MULTILINE)

    def seconds() -> dict[str, float]:
        found = gauge.findall(cluster.get(cluster.metrics, "/metrics") or "")
        tags = [(dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)) for labels, value in found]
        return {labels["key"]: value for labels, value in tags if labels.get("run") == "seen"}

    wait_for(lambda: "discriminator" in seconds(), process, "the gauges", 120)
    parts = seconds()
    assert {"step", "data", "discriminator", "generator", "checkpoint"} <= parts.keys()
    assert parts["step"] == pytest.approx(sum(value for key, value in parts.items() if key != "step"), rel=0.5)

    def status() -> str:
        # "" while a busy dashboard has not answered.
        shown = json.loads(cluster.get(cluster.dashboard, "/api/train/v2/runs/v1") or '{"train_runs": []}')
        return "".join(each["status"] for each in shown["train_runs"] if each["name"] == "seen")

    wait_for(lambda: status() == "RUNNING", process, "the run on the Train page", 60)
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 3, (tmp_path / "stderr.txt").read_text()
    deadline = time.monotonic() + 60
    while status() != "FINISHED":
        assert time.monotonic() < deadline, status()
        time.sleep(0.5)


@pytest.mark.slow
def test_a_sweep_joins_a_cluster(tmp_path: Path, cluster: Cluster):
    short = {**SMALL, "train": {**SMALL["train"], "images": 16 * 60, "save_every": 20}}
    short["evaluate"] = {"every": 20, "metrics": ["classes"], "count": 200}
    (tmp_path / "seen.yaml").write_text(yaml.safe_dump(short))
    (tmp_path / "pair.yaml").write_text(
        "config: seen.yaml\nsearch: {run.seed: [0, 1]}\nmetric: smallest_class\nmode: max\n"
    )
    refused = run(
        "sweep", "pair.yaml", "cluster.workers=0", "--address", cluster.address, cwd=tmp_path, **cluster.environment
    )
    assert refused.returncode == 2
    assert "on a cluster a trial needs workers" in refused.stderr
    ended = run(
        "sweep", "pair.yaml", "--address", cluster.address, "--json", cwd=tmp_path, timeout=200, **cluster.environment
    )
    assert ended.returncode == 0, ended.stderr
    assert "2 at a time" in ended.stderr
    assert len(json.loads(ended.stdout)["trials"]) == 2
