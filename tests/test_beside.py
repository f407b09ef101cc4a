"""Evaluations beside the training: who decides, what comes back late, and what a run that goes on does with it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import torch.distributed as dist
import yaml

from gandist.config.check import check
from gandist.config.resolve import resolve
from gandist.config.schema import Config
from gandist.errors import ConfigError
from gandist.evaluation.evaluator import Evaluator
from gandist.launch.evaluating import Order, place_beside, score
from gandist.launch.folder import write_result
from gandist.launch.placement import Seats
from gandist.launch.resources import Place, Room
from gandist.launch.watching import Watchers
from gandist.tracking.metrics_file import read
from gandist.tracking.report.reading import read_run
from gandist.training import checkpoint
from gandist.training.best import BestSoFar
from gandist.training.checkpoint import Kept, checkpoints, step_of
from gandist.training.loop import Finished, train
from gandist.training.mirror import Mirror
from gandist.training.state import Progress
from gandist.training.surroundings import Returned, Surroundings
from gandist.training.writer import Writer
from tests.processes import descendants, kill_tree, start, wait_for
from tests.ranks import on_ranks

GIVEN: dict[str, Any] = {
    "run": {"name": "beside"},
    "dataset": {"name": "gaussians", "count": 500},
    "architecture": {"name": "mlp", "width": 8},
    "loss": "non-saturating",
    "train": {"images": 8 * 60, "batch_size": 8, "log_every": 5, "save_every": 0, "sample_every": 0, "keep": 1},
    "tracking": {"wandb": {"mode": "disabled"}},
    "evaluate": {"every": 10, "metrics": ["modes"], "count": 100, "async": True},
}


def given(**evaluate: Any) -> Config:
    return resolve({**GIVEN, "evaluate": {**GIVEN["evaluate"], **evaluate}})


class Slow:
    """Comes back when rank 0 has looked for it so many times, which it does once a step.

    scores: of a step, or why there are none.
    """

    def __init__(self, folder: Path, scores: Callable[[int], dict[str, float] | str], looks: int, room: bool = True):
        self.no_room = "no CPU was free for it"
        self._folder, self._scores, self._looks, self._room = folder, scores, looks, room
        self.started: list[int] = []
        self.asked = self._left = 0
        self._step: int | None = None

    @property
    def busy(self) -> bool:
        return self._step is not None

    @property
    def returned(self) -> Returned | None:
        if self._step is None:
            return None
        self._left -= 1
        found = self._scores(self._step)
        if self._left > 0:
            return None
        return Returned(self._step, None, found) if isinstance(found, str) else Returned(self._step, found)

    def room(self) -> bool:
        self.asked += 1
        return self._room

    def start(self, step: int) -> None:
        assert self._step is None, "two at a time"
        assert checkpoint.damage(self._folder / "checkpoints" / checkpoint.name_of(step)) is None
        self.started.append(step)
        self._step, self._left = step, self._looks

    def wait(self, seconds: float) -> None:
        pass

    def take(self) -> Returned:
        self._left = 0
        returned, self._step = self.returned, None
        assert returned is not None
        return returned


class Prompt(Writer):
    """Its checkpoints are whole at once, so that the step in which the next thing happens is known."""

    def start(self, step: int, write: Callable[[], Path]) -> None:
        super().start(step, write)
        self.wait()


def good(step: int) -> dict[str, float]:
    return {"good": float(step), "modes": 1.0}


def play(folder: Path, config: Config, beside: Slow | None = None, **around: Any) -> tuple[Finished, list[str]]:
    """How a run in this process ended, and what it warned of."""
    folder.mkdir(exist_ok=True)
    text = yaml.safe_dump(config.model_dump(mode="json"))
    (folder / "config.yaml").write_text(text)
    source, warnings = config.dataset.open(), list[str]()
    surroundings = Surroundings(
        folder,
        config_text=text,
        watch=lambda run: Watchers(config, run, "rank 0", warnings.append).announce,
        evaluator=Evaluator(config, source, torch.device("cpu")) if config.evaluate.every else None,
        warn=warnings.append,
        beside=beside,
        writer=Prompt(),
        **around,
    )
    return train(config, source, surroundings), warnings


def scored(folder: Path, name: str = "good") -> dict[int, float]:
    """A score in metrics.jsonl by step, none of which may be there twice."""
    rows = [row for row in read(folder / "metrics.jsonl") if f"evaluation/{name}" in row]
    assert len({row["step"] for row in rows}) == len(rows)
    assert all(row["images"] == 8 * row["step"] for row in rows)
    return {row["step"]: row[f"evaluation/{name}"] for row in rows}


def saved(folder: Path) -> list[int]:
    return sorted(step_of(path) or 0 for path in checkpoints(folder / "checkpoints"))


def weights(folder: Path) -> bytes:
    return (folder / "generator.safetensors").read_bytes()


def test_scores_come_late_under_the_step_of_their_checkpoint_and_the_newest_waits(tmp_path: Path):
    beside = Slow(tmp_path, good, looks=26)
    finished, warnings = play(tmp_path, given(), beside)
    # 20 gave way to 30 while 10 was at work, 40 and 50 to 60, which is the last and waited for.
    assert beside.started == [10, 30, 60]
    assert scored(tmp_path) == {10: 10.0, 30: 30.0, 60: 60.0}
    assert (finished.step, finished.metrics, finished.evaluated) == (60, good(60), 60)
    assert warnings == []
    rows = [row["step"] for row in read(tmp_path / "metrics.jsonl")]
    assert rows.index(30) < rows.index(35) < rows.index(10, rows.index(30)), "10 came back between two log lines"
    # When the last one was made, that of 30 was still to be scored.
    assert saved(tmp_path) == [30, 60]


def test_the_report_puts_late_scores_into_the_row_of_their_step(tmp_path: Path):
    play(tmp_path, given(), Slow(tmp_path, good, looks=25))
    rows = {row["step"]: row for row in read_run(tmp_path).rows}
    assert rows[10]["evaluation/good"] == 10.0
    assert "loss/generator/total" in rows[10]
    assert sorted(rows) == list(range(5, 61, 5))


@pytest.mark.parametrize("looks", [1, 25])
def test_a_run_without_scores_has_the_same_weights(tmp_path: Path, looks: int):
    play(tmp_path / "none", given(every=0))
    beside = Slow(tmp_path / "lost", lambda step: "WorkerCrashedError: its process died", looks)
    finished, warnings = play(tmp_path / "lost", given(best={"score": "good", "patience": 1}), beside)
    assert weights(tmp_path / "lost") == weights(tmp_path / "none")
    assert (finished.metrics, finished.best) == ({}, None)
    assert warnings[0] == (
        "the scores of step 10 are missing: WorkerCrashedError: its process died; the training goes on"
    )
    # What could not be scored is not tried again.
    assert len(warnings) == len(beside.started) == len(set(beside.started))


def test_without_room_all_score_in_turn_and_say_so_once(tmp_path: Path):
    play(tmp_path / "turn", given(**{"async": False}))
    beside = Slow(tmp_path / "full", good, looks=1, room=False)
    finished, warnings = play(tmp_path / "full", given(), beside)
    assert warnings == ["evaluate.async: no CPU was free for it: all workers score in turn until there is"]
    assert (beside.started, beside.asked) == ([], 6)
    assert scored(tmp_path / "full") == scored(tmp_path / "turn")
    assert list(scored(tmp_path / "full")) == [10, 20, 30, 40, 50, 60]
    # As a log line holds them, not in a row of their own.
    assert len(read(tmp_path / "full" / "metrics.jsonl")) == 12
    assert finished.evaluated == 60
    assert weights(tmp_path / "full") == weights(tmp_path / "turn")


def test_the_best_is_kept_until_it_is_judged_and_late_scores_end_a_run(tmp_path: Path):
    values = {10: 3.0, 20: 9.0, 30: 1.0, 40: 2.0}
    best = {"score": "good", "mode": "max", "patience": 2}
    beside = Slow(tmp_path, lambda step: {"good": values[step], "modes": 1.0}, looks=8)
    finished, _ = play(tmp_path, given(best=best), beside)
    assert beside.started == [10, 20, 30, 40]
    assert finished.best == BestSoFar("good", 9.0, 20, waited=2)
    # The scores of 40 came 8 steps later, which is when the run ended and its last checkpoint was made.
    assert (finished.step, finished.evaluated) == (48, 40)
    assert saved(tmp_path) == [20, 48]
    result = write_result(tmp_path, vars(finished) | {"best": vars(finished.best)})
    assert result["evaluated"] == 40


def test_a_run_that_goes_on_scores_again_what_had_not_come_back(tmp_path: Path):
    stop = iter(range(1000))
    beside = Slow(tmp_path, good, looks=25)
    stopped, _ = play(tmp_path, given(), beside, requests=lambda: {"stop"} if next(stop) == 22 else set())
    assert (stopped.stopped, stopped.step, beside.started) == (True, 23, [10])
    assert saved(tmp_path) == [10, 20, 23]
    again = Slow(tmp_path, good, looks=4)
    finished, warnings = play(tmp_path, given(), again)
    assert again.started == [10, 20, 30, 40, 50, 60]
    assert scored(tmp_path) == {step: float(step) for step in (10, 20, 30, 40, 50, 60)}
    assert (finished.step, warnings) == (60, [])
    # The last checkpoint was made before the last scores came, and knows that they had not.
    longer = Slow(tmp_path, good, looks=4)
    play(tmp_path, resolve({**GIVEN, "train": {**GIVEN["train"], "images": 8 * 70}}), longer)
    assert longer.started == [60, 70]
    assert list(scored(tmp_path)) == [10, 20, 30, 40, 50, 60, 70]


def test_a_run_that_goes_on_without_room_says_what_it_leaves_out(tmp_path: Path):
    stop = iter(range(1000))
    play(tmp_path, given(), Slow(tmp_path, good, looks=99), requests=lambda: {"stop"} if next(stop) == 19 else set())
    finished, warnings = play(tmp_path, given(), Slow(tmp_path, good, looks=1, room=False))
    assert finished.step == 60
    assert warnings[1:] == ["the scores of step 10 are left out: no CPU was free for it"]
    # 20 is where it goes on: that can still be scored.
    assert sorted(scored(tmp_path)) == [20, 30, 40, 50, 60]


def test_who_asks_a_run_to_stop_does_not_wait_for_the_last_scores(tmp_path: Path):
    beside, over = Slow(tmp_path, good, looks=10**9), iter(range(10**9))
    finished, _ = play(tmp_path, given(), beside, requests=lambda: {"stop"} if next(over) >= 60 else set())
    assert (finished.stopped, finished.step, beside.started) == (True, 60, [10])
    assert not (tmp_path / "generator.safetensors").exists()
    ended, _ = play(tmp_path, given(), Slow(tmp_path, good, looks=3))
    assert (ended.stopped, ended.metrics) == (False, good(60))
    assert list(scored(tmp_path)) == [10, 60]


def together(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    config, place = given(best={"score": "good", "patience": 2}), Path(folder)
    beside = Slow(place, good, looks=7) if rank == 0 else None
    source = config.dataset.open()
    evaluator = Evaluator(config, source, torch.device("cpu"))
    around = Surroundings(place, rank=rank, world=2, evaluator=evaluator, beside=beside, writer=Prompt())
    finished = train(config, source, around)
    Path(folder, f"{rank}.json").write_text(json.dumps([finished.step, finished.metrics, vars(finished.best)]))
    dist.barrier()
    dist.destroy_process_group()


def test_all_ranks_take_in_late_scores_at_the_same_step(tmp_path: Path):
    on_ranks(2, together, str(tmp_path))
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert found[0] == found[1]
    assert found[0][2] == {"score": "good", "value": 10.0, "step": 10, "waited": 2}
    assert 30 < found[0][0] < 40


@pytest.mark.parametrize("far", [False, True], ids=["folder", "object storage"])
def test_a_checkpoint_scores_as_the_ranks_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, far: bool):
    monkeypatch.setattr("os.nice", lambda by: 0)
    run, url = tmp_path / "run", f"file://{tmp_path}/there"
    config = given(**{"async": False})
    config = config.model_copy(update={"train": config.train.model_copy(update={"save_every": 10, "keep": 9})})
    _, warnings = play(run, config, **({"mirror": Mirror(url)} if far else {}))
    assert warnings == []
    # The folder of a process on another node is not that of rank 0.
    order = Order({"CPU": 1}, config.model_dump(mode="json"), "/nowhere" if far else str(run), url if far else None, "")
    rows = {row["step"]: row for row in read(run / "metrics.jsonl")}
    for step in (30, 60):
        found = score(replace(order, cwd=str(tmp_path)), step).scores or {}
        assert {f"evaluation/{name}": value for name, value in found.items()} == pytest.approx(
            {key: value for key, value in rows[step].items() if key.startswith("evaluation/")}, rel=1e-6
        )


def test_what_is_to_be_scored_is_not_deleted():
    there = [Path(f"step-{step:08d}") for step in (50, 40, 30, 20)]
    assert [step_of(path) for path in Kept(1, best=20, pending=(40,)).others(there)] == [30]
    with pytest.raises(ValueError, match="the steps to be scored are"):
        Progress("local", pending=["../../x"])  # type: ignore[list-item]


def place(cpus: int, gpus: int = 0) -> Place:
    return Place("here", (Room("here", cpus, gpus),))


@pytest.mark.parametrize(
    ("workers", "gpu", "alone", "found"),
    [
        (1, False, place(2), {"CPU": 1}),
        (2, False, place(2), {}),
        (2, False, None, {"CPU": 1}),
        (1, True, place(8, 2), {"GPU": 1}),
        (2, True, place(8, 2), {}),
        (0, False, place(8), {}),
    ],
)
def test_it_takes_a_place_that_no_worker_wants(workers: int, gpu: bool, alone: Place | None, found: dict[str, float]):
    config = resolve({**GIVEN, "cluster": {"workers": workers}})
    assert place_beside(config, Seats(gpu, 1, {"GPU": 1} if gpu else {"CPU": 1}), alone) == found
    off = resolve({**GIVEN, "cluster": {"workers": workers}, "evaluate": {"every": 5, "metrics": ["modes"]}})
    assert place_beside(off, Seats(gpu, 1, {"CPU": 1}), alone) == {}


def test_the_key_is_async_everywhere():
    config = given()
    assert config.evaluate.asynchronous
    assert config.model_dump(mode="json")["evaluate"]["async"] is True
    assert resolve(config.model_dump(mode="json")) == config
    with pytest.raises(ConfigError, match="did you mean async"):
        given(asyn=True)
    with pytest.raises(ConfigError, match=r"evaluate\.async +should be true or false, is 'yes'"):
        given(**{"async": "yes"})


def test_a_run_without_ray_is_told_that_it_scores_in_turn():
    told = check(resolve({**GIVEN, "cluster": {"workers": 0}})).warnings
    assert [one for one in told if "evaluate.async" in one]
    assert not check(given()).warnings


def test_wandb_gets_late_scores_once(tmp_path: Path):
    from test_wandb import SCALARS, history, segments

    from gandist.tracking.wandb import Wandb

    def attempt(resumed_from: int | None, late: list[int]) -> list[dict[str, Any]]:
        log = Wandb(mode="offline").watch(tiny.view(tmp_path, resumed_from))
        assert log is not None
        for step in (3, 6, 9):
            log.gandist_on_log(step=step, scalars={**SCALARS, "images": 8.0 * step})
        for step in late:
            log.gandist_on_evaluation(step=step, metrics={"good": 0.5}, late=True)
        log.gandist_on_evaluation(step=9, metrics={"good": 0.1}, late=False)
        log.gandist_on_train_end(error=None)
        return [row for row in history(segments(tmp_path)[-1]) if "evaluation/good" in row]

    assert [row["images"] for row in attempt(None, [3])] == [24]
    # The row of step 3 was behind that of 9, which is still the furthest one.
    assert [row["images"] for row in attempt(6, [3, 6])] == [48]
    assert not [row for row in history(segments(tmp_path)[-1]) if row["images"] == 72]


def evaluating(pid: int) -> list[int]:
    """The processes below `pid` that score a checkpoint."""
    found = []
    for one in descendants(pid):
        with suppress(OSError):
            if "ray::score" in Path(f"/proc/{one}/cmdline").read_text():
                found.append(one)
    return found


@pytest.mark.slow
@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="an evaluation beside the training needs a core of its own"
)
def test_on_ray_a_killed_evaluation_harms_nothing_and_the_next_scores_as_the_ranks_do(tmp_path: Path):
    train = {**GIVEN["train"], "images": 8 * 3000, "log_every": 20}
    config = {**GIVEN, "train": train, "evaluate": {**GIVEN["evaluate"], "every": 500}, "cluster": {"workers": 1}}
    (tmp_path / "beside.yaml").write_text(yaml.safe_dump(config))
    folder = tmp_path / "runs" / "beside"
    process = start("train", "beside.yaml", cwd=tmp_path)
    try:
        wait_for(lambda: bool(evaluating(process.pid)), process, "evaluation", 300)
        os.kill(evaluating(process.pid)[0], signal.SIGKILL)
        assert process.wait(250) == 0, (tmp_path / "stderr.txt").read_text()
    finally:
        kill_tree(process)
    told = (tmp_path / "stderr.txt").read_text()
    lost = "the scores of step 500 are missing: the process that made them died"
    assert [lost in line for line in told.splitlines() if line.startswith("warning: ")] == [True]

    play(tmp_path / "turn", resolve({**config, "evaluate": {**config["evaluate"], "async": False}}))
    assert weights(folder) == weights(tmp_path / "turn")
    turn, late = scored(tmp_path / "turn", "reverse_kl"), scored(folder, "reverse_kl")
    assert 500 not in late
    assert 3000 in late
    assert len(late) > 1
    assert late == pytest.approx({step: turn[step] for step in late}, rel=1e-6)
    result = json.loads((folder / "result.json").read_text())
    assert result["metrics"]["reverse_kl"] == late[3000]
    assert "evaluated" not in result
    # The training went on while the first of them was made.
    steps = [row["step"] for row in read(folder / "metrics.jsonl")]
    first = next(iter(late))
    assert steps[len(steps) - 1 - steps[::-1].index(first) - 1] > first
    assert f"evaluation at step {first}: " in told
