"""Runs on several hosts go where the config says, and wait for room or say why there is none; `doctor` looks there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import HEAD, Hosts
from tests.on_hosts import RunOnHosts
from tests.processes import install

pytestmark = pytest.mark.slow

PLUGIN = "from gandist import Loss\n"
TRAIN = {"images": 16 * 20, "batch_size": 16, "log_every": 10, "save_every": 0}


@pytest.fixture(scope="module")
def hosts(share: Path) -> Iterator[Hosts]:
    """Two workers of two CPUs; h2 lacks a plugin that the others have."""
    install(share / "recording", "recording", "recording", Path(__file__).with_name("recording.py").read_text())
    install(share / "mine", "my-losses", "my_losses", PLUGIN)
    paths = [str(share / "recording" / "site"), os.environ.get("PYTHONPATH", "")]
    everywhere = os.pathsep.join([str(share / "mine" / "site"), *paths]).rstrip(os.pathsep)
    lacking = os.pathsep.join(paths).rstrip(os.pathsep)
    with Hosts(
        share / "hosts", cpus=2, environment={"PYTHONPATH": everywhere}, unlike={"h2": {"PYTHONPATH": lacking}}
    ) as hosts:
        yield hosts


def config(name: str, **cluster: Any) -> dict[str, Any]:
    return {
        "run": {"name": name},
        "dataset": {"name": "digits", "size": 16},
        "architecture": {"name": "dcgan", "width": 8, "latent": 16, "norm": "spectral"},
        "loss": {},
        "train": TRAIN,
        "cluster": {"wait": 60, **cluster},
    }


def hosts_of(run: RunOnHosts) -> list[str]:
    """The host of each rank."""
    return sorted(dict(sorted((row["start"], row["host"]) for row in run.seen)).values())


@pytest.mark.parametrize(
    ("name", "cluster", "expected"),
    [
        ("pack", {"workers": 2, "placement": "PACK"}, {(1, 1), (2, 2)}),
        ("spread", {"workers": 2, "placement": "SPREAD", "interface": "eth0"}, {(1, 2)}),
        ("elastic", {"workers": "1..4", "per_node": 1, "max_failures": 1}, {(1, 2)}),
        ("threads", {"workers": 2, "threads": "auto"}, {(1, 2)}),
    ],
)
def test_workers_go_where_the_config_says(
    share: Path, hosts: Hosts, name: str, cluster: dict[str, Any], expected: set[tuple[int, ...]]
):
    run = RunOnHosts(hosts, share, config(name, **cluster))
    assert run.end() == 0, run.said
    assert tuple(int(host[1:]) for host in hosts_of(run)) in expected, run.said
    through = cluster.get("interface")
    assert {tuple(row["networks"]) for row in run.seen} == {(through, f"={through}" if through else None)}
    if name == "threads":
        assert "threads: 2" in (run.folder / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "cluster", "said"),
    [
        (
            "too-many",
            {"workers": 5},
            ["cluster.workers: 5 workers with one CPU each do not fit", "room for 4", "h1: 2 CPUs; h2: 2 CPUs"],
        ),
        (
            "too-many-a-node",
            {"workers": 3, "per_node": 1, "threads": 2},
            ["at most 1 a node (cluster.per_node)", "2 CPUs (cluster.threads)", "room for 2"],
        ),
        ("no-gpus", {"workers": 2, "gpu": True}, ["cluster.gpu: 2 workers with a GPU each", "room for 0"]),
        ("no-such-network", {"workers": 2, "interface": "eth9"}, ["no network interface eth9", "did you mean eth0?"]),
    ],
)
def test_what_the_cluster_lacks_is_told(share: Path, hosts: Hosts, name: str, cluster: dict[str, Any], said: list[str]):
    run = RunOnHosts(hosts, share, config(name, wait=3, **cluster))
    assert run.end() == 2, run.said
    assert "Traceback" not in run.said
    for words in said:
        assert words in run.said, run.said
    assert run.seen == []


def test_a_run_waits_for_another_one_to_end_and_no_longer_than_it_may(share: Path, hosts: Hosts):
    first = RunOnHosts(hosts, share, {**config("first", workers=4), "train": {**TRAIN, "images": 16 * 400}})
    first.pace(0.5)
    first.wait_for(lambda: first.step >= 1, "first step")
    impatient = RunOnHosts(hosts, share, config("impatient", workers=1, wait=3))
    assert impatient.end() == 2, impatient.said
    assert "4 of 4 CPUs are in use" in impatient.said
    patient = RunOnHosts(hosts, share, config("patient", workers=1, wait=120))
    patient.wait_for(lambda: "waiting 120 s" in patient.said, "word of waiting", seconds=60)
    first.pace(0.0)
    assert first.end() == 0, first.said
    assert patient.end() == 0, patient.said


def doctor(hosts: Hosts, share: Path, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code, and the findings by name."""
    command = [sys.executable, "-m", "gandist", "doctor", "--address", hosts.address, "--json", *arguments]
    ended: subprocess.CompletedProcess[str] = hosts.run(HEAD, *command, cwd=share, timeout=180)
    return ended.returncode, {finding["name"]: finding for finding in json.loads(ended.stdout)}


def test_doctor_compares_and_measures_the_nodes(share: Path, hosts: Hosts):
    storage = share / "not-yet" / "runs"
    code, found = doctor(hosts, share, "--storage", str(storage), "--interface", "eth0")
    assert code == 1
    lacking = {name for name, finding in found.items() if not finding["ok"]}
    assert lacking == {"node h2 (10.77.0.12)"}, found
    assert "has no my-losses (here 1.0)" in found["node h2 (10.77.0.12)"]["detail"]
    node = found["node h1 (10.77.0.11)"]["facts"]
    assert node["versions"]["my-losses"] == "1.0"
    assert {"gandist", "torch", "ray", "python"} <= set(node["versions"])
    for name in ("h0 (10.77.0.10)", "h1 (10.77.0.11)", "h2 (10.77.0.12)"):
        assert found[f"storage from {name}"]["facts"]["bytes_per_second"] > 0
        # One machine's clock: what is left is the way there and back.
        assert abs(found[f"clock of {name}"]["facts"]["ahead"]) <= found[f"clock of {name}"]["facts"]["error"]
    exchange = found["exchange between nodes"]["facts"]
    assert (exchange["backend"], exchange["nodes"]) == ("gloo", 2)
    assert 0 < exchange["latency"] < 1
    assert exchange["bandwidth"] > 1e6
    assert not storage.parent.exists(), "what was made for the test is gone again"


def test_doctor_sees_that_nodes_have_other_storage_or_no_way_to_each_other(share: Path, hosts: Hosts):
    # /tmp/ray is each host's own.
    code, found = doctor(hosts, share, "--storage", "/tmp/ray/runs", "--interface", "lo")
    assert code == 1
    told = found["storage from h1 (10.77.0.11)"]
    assert not told["ok"]
    assert "does not see what h0 (10.77.0.10), h2 (10.77.0.12) wrote" in told["detail"]
    assert "cluster.storage" in told["fix"]
    assert not found["exchange between nodes"]["ok"]
    assert "cluster.interface" in found["exchange between nodes"]["fix"]


def test_a_run_waits_for_a_node_that_is_coming_up(share: Path, hosts: Hosts):
    # The last one here: until Ray misses the node that goes again, `doctor` would find it and fail to reach it.
    run = RunOnHosts(hosts, share, config("coming", workers=5, wait=120))
    run.wait_for(lambda: "waiting for more, 120 s" in run.said, "word of waiting", seconds=60)
    hosts.boot("h3")
    try:
        assert run.end() == 0, run.said
    finally:
        hosts.crash("h3")
    assert "h3" in hosts_of(run)
