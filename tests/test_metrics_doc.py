"""docs/metrics.md is what runs log: no key more, none less, and reduced over ranks as it says."""

import functools
import json
import re
from dataclasses import replace
from pathlib import Path

import pluggy
import pytest
import tiny
import torch
from gandist_datasets.digits import Digits
from stripes import Stripes

from gandist import Examination, Metric
from gandist.contract import hookspecs
from gandist.contract.discovery import installed
from gandist.evaluation.evaluator import Evaluator
from gandist.launch.board import Board
from gandist.launch.pulse import Pulse
from gandist.testing.ranks import ranks
from gandist.tracking.health import Health
from gandist.tracking.metrics_file import MetricsFile, read
from gandist.training.loop import train
from gandist.training.run import RunView
from gandist.training.surroundings import Announce, Surroundings

DOCUMENT = Path(__file__).parents[1] / "docs" / "metrics.md"
COLUMNS = ("key", "unit", "over", "ranks", "meaning")


def table() -> dict[str, dict[str, str]]:
    rows = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {one[0].strip("`"): dict(zip(COLUMNS, one, strict=True)) for one in cells}


def documented(key: str) -> str | None:
    """The row for a logged key: the one without placeholders, if there are two."""
    if key in table():
        return key
    rows = [row for row in table() if re.fullmatch(re.sub(r"<\w+>", r"[^/]+", row), key)]
    return min(rows, key=lambda row: row.count("<"), default=None)


def watch(run: RunView) -> Announce:
    manager = pluggy.PluginManager("gandist")
    manager.add_hookspecs(hookspecs)
    manager.register(MetricsFile().watch(run))
    manager.register(run.config.tracking["health"].watch(run))
    return lambda hook, **facts: getattr(manager.hook, hook)(run=run, **facts)


def run(rank: int, world: int, folder: Path) -> None:
    """12 steps on this rank; with plain SGD, since Adam makes whole steps of rounding noise."""
    config = tiny.config(
        optimizer={"generator": {"name": "sgd"}, "discriminator": {"name": "sgd"}},
        evaluate={"every": 6, "metrics": ["modes"], "count": 200},
        tracking={"health": {"every": 3}},
    )
    source = config.dataset.open()
    evaluator = Evaluator(config, source, torch.device("cpu"))
    pulse = Pulse(Board(), rank)
    around = Surroundings(folder, rank=rank, world=world, watch=watch, evaluator=evaluator, heartbeats=pulse.heartbeats)
    train(config, source, around)
    pulse.close()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    folder = tmp_path_factory.mktemp("one")
    run(0, 1, folder)
    return read(folder / "metrics.jsonl")


def image_metrics() -> list[type[Metric]]:
    """All that score samples, but those of points, of stacked images, and the one that would download weights."""
    others = ("modes", "stacked-modes", "fid")
    asked = [one for one in installed().components(Metric) if not issubclass(one, Examination)]
    return [one for one in asked if one.name not in others]


@functools.cache
def image_scores() -> set[str]:
    """Keys of the metrics of labelled images."""
    stripes = Stripes(fingerprint="documented")
    names = [metric.name for metric in image_metrics()]
    evaluator = Evaluator(tiny.config(evaluate={"metrics": names, "count": 60}), stripes, torch.device("cpu"))
    return {f"evaluation/{name}" for name in evaluator.score(stripes.read(range(60))["real"].split(30))}


def elsewhere() -> set[str]:
    """Scores that other data, or weights, are needed for."""
    return {f"evaluation/{score}" for metric in installed().components(Metric) for score in metric.all_scores()}


def image_health(folder: Path) -> set[str]:
    """Keys of the watcher `health` on labelled images."""
    recorded: dict[str, float] = {}
    source = Digits().open()
    log = Health().watch(replace(tiny.view(folder), source=source, record=recorded.__setitem__))
    assert log is not None
    log.gandist_on_probe(step=100, images=source.read(range(64))["real"])
    log.gandist_on_evaluation(step=100, metrics={"class_share/0": 0.5, "class_share/1": 0.5})
    return set(recorded)


def test_every_logged_key_is_documented(rows: list[dict[str, float]], tmp_path: Path):
    logged = {key for row in rows for key in row} | image_scores() | elsewhere() | image_health(tmp_path)
    assert [key for key in sorted(logged - {"step"}) if documented(key) is None] == []


def test_every_documented_key_is_logged(rows: list[dict[str, float]], tmp_path: Path):
    keys = {key for row in rows for key in row} | image_scores() | elsewhere() | image_health(tmp_path)
    logged = {documented(key) for key in keys}
    assert set(table()) - logged == {"memory/gpu_gib"}


def test_rows_are_written_when_the_document_says(rows: list[dict[str, float]]):
    assert [row["step"] for row in rows] == [3, 6, 9, 12]
    assert [any(key.startswith("evaluation/") for key in row) for row in rows] == [False, True, False, True]
    assert [row["images"] for row in rows] == [24, 48, 72, 96]


def test_the_parts_of_a_step_add_up_to_it(rows: list[dict[str, float]]):
    for row in rows:
        parts = [value for key, value in row.items() if key.startswith("seconds/") and key != "seconds/step"]
        assert sum(parts) == pytest.approx(row["seconds/step"])
        assert all(value >= 0 for value in parts)
        assert row["seconds/discriminator"] > 0
    assert rows[1]["seconds/evaluation"] > 0


def test_ranks_are_reduced_as_the_document_says(rows: list[dict[str, float]], tmp_path: Path):
    ranks(2).run(run, tmp_path)
    for one, two in zip(rows, read(tmp_path / "metrics.jsonl"), strict=True):
        assert one.keys() == two.keys()
        for key in one.keys() - {"step"}:
            reduced = table()[documented(key) or ""]["ranks"]
            assert reduced in ("global mean", "equal", "sums", "rank 0")
            if reduced != "rank 0":
                assert two[key] == pytest.approx(one[key], rel=1e-5, abs=1e-6), key
        json.dumps(two, allow_nan=False)
