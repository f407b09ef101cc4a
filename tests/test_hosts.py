"""Runs on several hosts, one of which dies, is cut off, comes back, or is about to be taken away."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.hosts import Hosts
from tests.on_hosts import SIZE, RunOnHosts
from tests.processes import install
from tests.ranks import train_on_ranks

pytestmark = pytest.mark.slow

STEPS, EVERY, BATCH = 250, 50, 16
"""Two epochs and a bit of the digits."""
SGD = {"name": "sgd", "lr": 0.02}


@pytest.fixture(scope="module")
def environment(share: Path) -> dict[str, str]:
    """With the plugin that records what each step saw."""
    site = install(share, "recording", "recording", Path(__file__).with_name("recording.py").read_text())
    return {"PYTHONPATH": os.pathsep.join([site, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}


@pytest.fixture(scope="module")
def pair(share: Path, environment: dict[str, str]) -> Iterator[Hosts]:
    """Two workers of one CPU: two ranks are on two hosts."""
    with Hosts(share / "pair", environment=environment) as hosts:
        yield hosts


def config(name: str, **sections: Any) -> dict[str, Any]:
    return {
        "run": {"name": name, "seed": 1},
        "dataset": {"name": "digits", "size": 16},
        "architecture": {"name": "dcgan", "width": 8, "latent": 16, "norm": "spectral"},
        "loss": {"regularizers": [{"name": "r1", "every": 4}]},
        "train": {"images": BATCH * STEPS, "batch_size": BATCH, "log_every": 10, "save_every": EVERY, "keep": 10},
        "cluster": {"workers": 2},
        **sections,
    }


def undisturbed(share: Path, config: dict[str, Any], workers: int) -> Path:
    """The folder of the same run on as many ranks, which nothing disturbs and neither Ray nor a record touches."""
    folder = share / f"{config['run']['name']}.undisturbed"
    plain = {**config, "loss": {"name": "non-saturating", **config["loss"]}}
    train_on_ranks(workers, [{"config": plain, "folder": str(folder)}])
    return folder


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "generator.safetensors").read_bytes()).hexdigest()


def require_every_sample_once_an_epoch(samples: list[int]) -> None:
    assert len(samples) == STEPS * BATCH
    epochs = [samples[start : start + SIZE] for start in range(0, len(samples), SIZE)]
    assert all(sorted(epoch) == list(range(SIZE)) for epoch in epochs[:-1])
    assert len(set(epochs[-1])) == len(epochs[-1])


def test_a_host_that_loses_power_changes_nothing(share: Path, pair: Hosts):
    run = RunOnHosts(pair, share, config("power"))
    run.wait_for(lambda: run.step >= EVERY + 17, "step after the first checkpoint")
    assert {row["host"] for row in run.seen} == {"h1", "h2"}
    pair.crash("h2")
    pair.boot("h2")
    assert run.end() == 0, run.said
    assert "Traceback" not in run.said
    assert "going on from step" in run.said
    assert digest(run.folder) == digest(undisturbed(share, config("power"), 2))
    assert run.logged == list(range(10, STEPS + 1, 10))
    assert 0 < len(run.done_again()) <= EVERY
    require_every_sample_once_an_epoch(run.samples())


def test_a_host_that_is_cut_off_is_named_and_the_run_goes_on_when_it_is_back(share: Path, pair: Hosts):
    cut = config("cut", cluster={"workers": 2, "timeout": 15})
    run = RunOnHosts(pair, share, cut)
    run.wait_for(lambda: run.step >= EVERY + 17, "step after the first checkpoint")
    rank = run.rank_on("h2")
    pair.cut("h2")
    run.wait_for(lambda: f"rank {rank} on host h2" in run.said, "word of the host that is cut off", seconds=60)
    run.wait_for(lambda: "waited 15 s (cluster.timeout)" in run.said, "error of the other host", seconds=60)
    pair.heal("h2")
    pair.boot("h2")
    assert run.end() == 0, run.said
    assert "Traceback" not in run.said
    failures = (run.folder / "failures.jsonl").read_text()
    assert f"rank {rank} on host h2" in failures
    assert digest(run.folder) == digest(undisturbed(share, cut, 2))
    assert run.logged == list(range(10, STEPS + 1, 10))
    assert 0 < len(run.done_again()) <= EVERY


def test_a_host_that_will_be_taken_away_is_left_with_a_checkpoint(share: Path, pair: Hosts):
    """Ray's notice of a preemption: the run saves at the next step and leaves; the same command goes on."""
    run = RunOnHosts(pair, share, config("notice"))
    run.wait_for(lambda: run.step >= EVERY + 17, "step after the first checkpoint")
    ray = str(Path(sys.executable).with_name("ray"))
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the spot market"]
    drained = pair.run(
        "h2", ray, "drain-node", "--address", pair.address, *reason, "--deadline-remaining-seconds", "60"
    )
    assert drained.returncode == 0, drained.stderr
    assert run.end() == 3, run.said
    assert f"rank {run.rank_on('h2')} is about to be taken away" in run.said
    last = max(int(path.name.split("-")[1]) for path in (run.folder / "checkpoints").iterdir())
    assert last % EVERY, "saved at once and not at the next regular checkpoint"
    pair.crash("h2")
    pair.boot("h2")
    run.again()
    assert run.end() == 0, run.said
    assert run.done_again() == []
    assert digest(run.folder) == digest(undisturbed(share, config("notice"), 2))
    assert run.logged == list(range(10, STEPS + 1, 10))


def test_four_two_and_four_workers_are_one_run(
    share: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    """Two hosts of two CPUs, one of which crashes and comes back: the run shrinks and grows."""
    elastic = config(
        "elastic",
        optimizer={"generator": SGD, "discriminator": SGD},
        cluster={"workers": "2..4", "resize_every": 5},
    )
    # Smooth and without batch norm: where a unit has a kink, the last bits decide now and then on which side it is.
    elastic["architecture"] = {"name": "tiny-players"}
    with Hosts(share / "four", cpus=2, environment=environment) as four:
        run = RunOnHosts(four, share, elastic)
        run.wait_for(lambda: run.step >= EVERY + 17, "step after the first checkpoint")
        assert "250 steps on 4 workers" in run.said
        four.crash("h2")
        run.wait_for(lambda: "250 steps on 2 workers" in run.said, "smaller group")
        run.wait_for(lambda: (run.folder / "checkpoints/step-00000100").is_dir(), "checkpoint of the smaller group")
        run.pace(0.5)
        four.boot("h2")
        run.wait_for(lambda: run.said.count("250 steps on 4 workers") == 2, "larger group")
        run.pace(0.01)
        assert run.end() == 0, run.said
    assert "Traceback" not in run.said
    assert run.logged == list(range(10, STEPS + 1, 10))
    require_every_sample_once_an_epoch(run.samples())
    # The ranks of the undisturbed run find the network there.
    monkeypatch.syspath_prepend(str(share / "site"))
    fixed = load_file(undisturbed(share, elastic, 4) / "generator.safetensors")
    ours = load_file(run.folder / "generator.safetensors")
    assert ours.keys() == fixed.keys()
    for name, weight in fixed.items():
        assert float((ours[name] - weight).float().norm()) <= 1e-4 * float(weight.float().norm()), name
