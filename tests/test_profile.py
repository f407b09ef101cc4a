"""A step's time by its parts, and the traces of torch's profiler: what is in them, and that nothing changes by them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from gandist.cli.run import _profiled
from gandist.errors import ConfigError
from gandist.testing.ranks import ranks
from gandist.training import clock as clocks
from gandist.training.loop import train
from gandist.training.profile import ProfiledSteps
from gandist.training.surroundings import Surroundings


def run(rank: int, world: int, folder: Path, profile: ProfiledSteps | None = None) -> None:
    config = tiny.config()
    with torch.random.fork_rng():
        train(config, config.dataset.open(), Surroundings(folder, rank=rank, world=world, profile=profile))


def ranges(folder: Path, rank: int = 0) -> list[dict[str, Any]]:
    """The named ranges of a trace, as Perfetto shows them, by time."""
    with gzip.open(folder / "profile" / f"rank-{rank}.json.gz", "rt") as file:
        events = json.load(file)["traceEvents"]
    assert any(event.get("cat") == "cpu_op" for event in events)
    return sorted((event for event in events if event.get("cat") == "user_annotation"), key=lambda event: event["ts"])


def test_a_trace_has_the_steps_and_their_parts_and_changes_nothing(tmp_path: Path):
    run(0, 1, tmp_path / "plain")
    run(0, 1, tmp_path / "traced", ProfiledSteps(4, 3))
    weights = [(tmp_path / name / "generator.safetensors").read_bytes() for name in ("plain", "traced")]
    assert weights[0] == weights[1]
    assert not (tmp_path / "plain" / "profile").exists()
    named = ranges(tmp_path / "traced")
    steps = [event for event in named if event["name"].startswith("step ")]
    assert [event["name"] for event in steps] == ["step 4", "step 5", "step 6"]
    for step in steps:
        inside = [e for e in named if step["ts"] <= e["ts"] and e["ts"] + e["dur"] <= step["ts"] + step["dur"]]
        names = [event["name"] for event in inside if event["name"] in ("data", "discriminator", "generator")]
        # The loss has one fresh batch a step.
        assert names == ["data", "discriminator", "generator"]
    assert "checkpoint" in [event["name"] for event in named], "one is written after step 5"


def test_every_rank_writes_a_trace(tmp_path: Path):
    ranks(2).run(run, tmp_path, ProfiledSteps(2, 2))
    for rank in (0, 1):
        assert {"step 2", "step 3", "discriminator"} <= {event["name"] for event in ranges(tmp_path, rank)}


@pytest.mark.parametrize(
    ("text", "begin", "total", "steps"),
    [
        ("20:30", 0, 100, range(20, 30)),
        ("20:300", 0, 100, range(20, 100)),
        ("5", 0, 100, range(10, 15)),
        ("5", 60, 100, range(70, 75)),
        ("5", 94, 100, range(95, 100)),
        ("5", 98, 100, range(98, 100)),
    ],
)
def test_which_steps_are_meant(text: str, begin: int, total: int, steps: range):
    assert _profiled(text).settled(begin, total) == steps


@pytest.mark.parametrize("text", ["", "x", "3:", ":3", "3:3", "7:3", "0", "-3", "1.5"])
def test_other_steps_are_refused(text: str):
    with pytest.raises(ConfigError, match=r"--profile .*should be A:B"):
        _profiled(text)


def test_the_parts_of_a_step_add_up(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(clocks.time, "perf_counter", lambda: now[0])
    marks: list[str] = []
    clock = clocks.Clock(["discriminator", "generator"], marks.append)
    for _ in range(2):
        for part, seconds in (("data", 1.0), ("discriminator", 2.0), ("generator", 3.0), ("other", 0.5)):
            clock.enter(part)
            now[0] += seconds
        clock.step()
    clock.enter("checkpoint")
    now[0] += 4.0
    read = clock.read(images_per_step=8)
    assert read == {
        "images_per_second": 16 / 17,
        "seconds/step": 8.5,
        "seconds/data": 1.0,
        "seconds/discriminator": 2.0,
        "seconds/generator": 3.0,
        "seconds/evaluation": 0.0,
        "seconds/logging": 0.0,
        "seconds/samples": 0.0,
        "seconds/checkpoint": 2.0,
        "seconds/other": 0.5,
    }
    assert marks == ["data", "discriminator", "generator", "other"] * 2 + ["checkpoint"]
    now[0] += 1.0
    again = clock.read(images_per_step=8)
    assert (again["seconds/checkpoint"], again["seconds/step"]) == (1.0, 1.0), "it starts anew, in the same part"
