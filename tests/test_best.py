"""The best checkpoint is kept, and a run ends where nothing better has come for long enough."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from tiny import config as tiny_config

import gandist
from gandist.config.evaluate import Best
from gandist.errors import ConfigError
from gandist.evaluation.evaluator import Evaluator
from gandist.training.best import BestSoFar, judged
from gandist.training.checkpoint import Kept, checkpoints, newest, step_of
from gandist.training.state import State
from gandist.training.surroundings import Surroundings
from tests.ranks import on_ranks

GIVEN: dict[str, Any] = {
    "run": {"name": "waiting"},
    "dataset": {"name": "gaussians", "count": 500},
    "architecture": {"name": "mlp", "width": 8},
    "loss": "non-saturating",
    "train": {"images": 8 * 60, "batch_size": 8, "log_every": 5, "save_every": 0, "sample_every": 0, "keep": 1},
    "cluster": {"workers": 0},
    "tracking": {"wandb": {"mode": "disabled"}},
    "evaluate": {"every": 5, "metrics": ["modes"], "best": {"score": "good", "mode": "max", "patience": 3}},
}


def after(values: Iterable[float], **wanted: Any) -> BestSoFar | None:
    best = None
    for number, value in enumerate(values, start=1):
        best = judged(best, Best(score="frechet", **wanted), value, 10 * number)
    return best


def test_the_smallest_or_the_largest_is_the_best_and_ties_are_not_better():
    assert after([3.0, 1.0, 1.0, 2.0]) == BestSoFar("frechet", 1.0, 20, waited=2)
    assert after([3.0, 1.0, 3.0], mode="max") == BestSoFar("frechet", 3.0, 10, waited=2)


def test_what_is_no_number_is_never_the_best():
    assert after([math.nan]) is None
    assert after([math.nan, 5.0, math.nan]) == BestSoFar("frechet", 5.0, 20, waited=1)


def test_another_score_begins_anew():
    assert judged(BestSoFar("kid", 0.1, 10, 4), Best(score="frechet"), 7.0, 20) == BestSoFar("frechet", 7.0, 20)
    assert not BestSoFar("kid", 0.1, 10, 4).exhausted(Best(score="frechet", patience=2))


def test_the_best_is_kept_beside_the_newest():
    there = [Path(f"step-{step:08d}") for step in (50, 40, 30, 20)]
    assert [step_of(path) for path in Kept(2, best=20).others(there)] == [30]
    assert [step_of(path) for path in Kept(2).others(there)] == [30, 20]


def scores(monkeypatch: pytest.MonkeyPatch, values: Iterable[float]) -> None:
    left = iter(values)
    monkeypatch.setattr(Evaluator, "measure", lambda *_: {"good": next(left), "modes": 1.0})


def saved(folder: Path) -> list[int | None]:
    return sorted(step_of(path) or 0 for path in checkpoints(folder / "checkpoints"))


def test_a_run_ends_without_a_better_score_and_keeps_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    scores(monkeypatch, [0.1, 0.7, 0.3, 0.7, 0.2])
    outcome = gandist.train(GIVEN)
    folder = tmp_path / "runs" / "waiting"
    best = {"score": "good", "value": 0.7, "step": 10, "waited": 3}
    assert (outcome.code, outcome.result["steps"], outcome.result["best"]) == (0, 25, best)
    assert json.loads((folder / "result.json").read_text())["best"] == best
    assert saved(folder) == [10, 25]
    assert (folder / "generator.safetensors").is_file()
    assert gandist.load(folder / "checkpoints" / "step-00000010").step == 10

    again = gandist.train(GIVEN)
    assert "is finished: 25 steps" in again.message

    # More patience: it goes on, and knows what was the best before.
    patient = {"score": "good", "mode": "max", "patience": 100}
    scores(monkeypatch, [0.5] * 7)
    longer = gandist.train({**GIVEN, "evaluate": {**GIVEN["evaluate"], "best": patient}})
    assert (longer.code, longer.result["steps"]) == (0, 60)
    assert longer.result["best"] == {**best, "waited": 10}
    assert saved(folder) == [10, 60]


def test_what_a_stopped_run_knows_of_its_best_is_in_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    scores(monkeypatch, [0.4, 0.1, 0.1])
    gandist.train(GIVEN, {"train.images": 8 * 15})
    scores(monkeypatch, [0.3] * 9)
    ended = gandist.train(GIVEN)
    assert ended.result["steps"] == 20
    assert ended.result["best"]["step"] == 5


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"every": 5, "metrics": ["modes"], "best": {"score": "goood"}}, "did you mean good?"),
        ({"every": 5, "metrics": ["modes"], "best": {"score": "frechet"}}, "they give modes"),
        ({"metrics": ["modes"], "best": {"score": "good"}}, "set every to the steps between evaluations"),
        ({"every": 5, "metrics": ["modes"], "best": {"score": "good", "mode": "least"}}, "one of 'min', 'max'"),
    ],
)
def test_what_cannot_be_the_best_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: Any, said: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as told:
        gandist.train({**GIVEN, "evaluate": section})
    assert said in str(told.value)
    assert "evaluate" in str(told.value)
    assert not (tmp_path / "runs").exists()


def judge(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    config = tiny_config(evaluate=GIVEN["evaluate"])
    around = Surroundings(folder=Path(folder), rank=rank, world=2, device=torch.device("cpu"))
    state = State(config, config.dataset.open().facts, around)
    due = state.judge({"good": 0.5 + rank, "modes": 1.0}, 0)
    state.progress.step = 5
    due_later = state.judge({"good": 0.6 - rank, "modes": 1.0}, 5)
    assert state.progress.best is not None
    Path(folder, f"{rank}.json").write_text(json.dumps([due, due_later, state.progress.best.value]))
    dist.barrier()
    dist.destroy_process_group()


def test_ranks_that_measure_differently_come_to_one_conclusion(tmp_path: Path):
    on_ranks(2, judge, str(tmp_path))
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert found[0] == found[1] == [True, True, 0.6]


def test_the_newest_whole_checkpoint_is_gone_on_with_and_not_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    scores(monkeypatch, [0.9, 0.1, 0.1])
    gandist.train(GIVEN, {"train.images": 8 * 15})
    path, _ = newest(tmp_path / "runs" / "waiting" / "checkpoints")
    assert path is not None
    assert step_of(path) == 15
