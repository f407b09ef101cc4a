"""Checkpoints are written beside the training, and storage that fails neither loses nor damages any."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gandist import GandistError
from gandist.errors import RunError
from gandist.testing.ranks import Ranks
from gandist.training import checkpoint, requests, writer
from gandist.training.exchange import Exchange
from gandist.training.loop import train
from gandist.training.surroundings import Surroundings
from gandist.training.waiting import on_rank_0
from gandist.training.writer import Writer
from tests.small_runs import attempt, config, on_ranks, saved_steps
from tests.test_agreement import BaseLoss


def test_steps_go_on_while_a_checkpoint_is_written_and_the_next_one_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reached, release, inside, most = [0], threading.Event(), [0], [0]
    save = checkpoint.save

    def slow(folder: Path, step: int, *arguments: Any, **keywords: Any) -> Path:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        if step == 2:
            assert release.wait(30), "the steps after the checkpoint wait for its write"
        path = save(folder, step, *arguments, **keywords)
        inside[0] -= 1
        return path

    def post(phase: str, step: int, images: int) -> None:
        reached[0] = max(reached[0], step)
        if phase == "training" and step == 3:
            release.set()

    monkeypatch.setattr(checkpoint, "save", slow)
    run = config(BaseLoss(), steps=8)
    train(run, run.dataset.open(), Surroundings(tmp_path, post=post))
    assert saved_steps(tmp_path) == [2, 4, 6, 8]
    assert most == [1]
    assert all(checkpoint.damage(path) is None for path in checkpoint.checkpoints(tmp_path / "checkpoints"))


def test_what_is_written_is_the_state_of_its_step_whatever_happens_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The weights move on while the snapshot is on its way to the disk."""
    run = config(BaseLoss(), steps=4)
    train(run, run.dataset.open(), Surroundings(tmp_path / "plain"))
    save, gate = checkpoint.save, threading.Event()

    def late(folder: Path, step: int, *arguments: Any, **keywords: Any) -> Path:
        gate.wait(1.0)
        return save(folder, step, *arguments, **keywords)

    monkeypatch.setattr(checkpoint, "save", late)
    train(run, run.dataset.open(), Surroundings(tmp_path / "late"))
    for step in (2, 4):
        files = [tmp_path / kind / f"checkpoints/step-{step:08d}/networks.safetensors" for kind in ("plain", "late")]
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"no small file system here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def long_run(keep: int = 1000) -> Any:
    return config(BaseLoss(), steps=400, train={"keep": keep})


def test_a_full_disk_ends_the_run_and_leaves_every_checkpoint_whole(small_disk: Path):
    said = attempt(0, 1, long_run(), small_disk).error
    steps = saved_steps(small_disk)
    assert steps, "some went in before the disk was full"
    assert f"the checkpoint of step {steps[-1] + 2} could not be written" in said
    assert "No space left" in said or "os error 28" in said
    assert "those before it are whole" in said
    found = checkpoint.checkpoints(small_disk / "checkpoints")
    assert all(checkpoint.damage(path) is None for path in found)
    assert len(list((small_disk / "checkpoints").iterdir())) == len(found), "nothing half-written stays"


def test_a_disk_that_becomes_read_only_ends_the_run(small_disk: Path):
    def post(phase: str, step: int, images: int) -> None:
        if phase == "training" and step == 5:
            subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    run = config(BaseLoss(), steps=20)
    with pytest.raises(RunError, match=r"the checkpoint of step 6 could not be written: .*[Rr]ead-only"):
        train(run, run.dataset.open(), Surroundings(small_disk, post=post))
    path, damaged = checkpoint.newest(small_disk / "checkpoints")
    assert path is not None
    assert (path.name, damaged) == ("step-00000004", {})


def test_a_run_may_wait_for_room(small_disk: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writer, "AGAIN", 0.05)
    ballast, said = small_disk / "ballast", []
    ballast.write_bytes(bytes(248 * 1024))

    def warn(text: str) -> None:
        said.append(text)
        ballast.unlink(missing_ok=True)

    run = long_run(keep=2)
    train(run, run.dataset.open(), Surroundings(small_disk, writer=Writer(patient=True, warn=warn)))
    assert saved_steps(small_disk) == [398, 400]
    assert "trying again" in said[0]
    assert "is written" in said[-1]


def failing(rank: int, world: int) -> str:
    def work() -> str:
        raise GandistError("no such thing")

    try:
        on_rank_0(work)
    except GandistError as error:
        return str(error)
    return "nothing was raised"


def working(rank: int, world: int) -> tuple[int, bool]:
    called = []
    value = on_rank_0(lambda: called.append(rank) or 7)
    return value, bool(called)


def test_all_ranks_get_what_rank_0_found_or_its_error():
    assert on_ranks(2, failing) == ["no such thing"] * 2
    assert on_ranks(2, working) == [(7, True), (7, False)]


def hurried(rank: int, world: int, folder: Path, shared: bool) -> tuple[int, bool]:
    with pytest.MonkeyPatch.context() as patch:
        if not shared:
            patch.setattr(Exchange, "open", lambda device, timeout: None)
        return _hurried(rank, world, folder)


def _hurried(rank: int, world: int, folder: Path) -> tuple[int, bool]:
    run = config(BaseLoss(), steps=100_000, train={"save_every": 0, "log_every": 1000})
    around = Surroundings(folder, rank=rank, world=world, until=time.time() + requests.LEAVING + 0.5)
    if rank:
        # Only rank 0's clock counts.
        around.until = None
    finished = train(run, run.dataset.open(), around)
    return finished.step, finished.stopped


@pytest.mark.parametrize("shared", [True, False], ids=["shared memory", "process group"])
def test_a_run_leaves_in_time_with_a_checkpoint_at_the_same_step_on_all_ranks(tmp_path: Path, shared: bool):
    first, second = on_ranks(2, hurried, tmp_path, shared)
    assert first == second
    assert first[1]
    assert 0 < first[0] < 100_000
    assert saved_steps(tmp_path) == [first[0]]


def test_nobody_stands_in_a_collective_while_rank_0_works(tmp_path: Path):
    """Work of twice the time that a collective may take."""
    group = Ranks(2, timeout=3.0)
    try:
        group.run(_long_work)
    finally:
        group.close()


def _long_work(rank: int, world: int) -> None:
    assert on_rank_0(lambda: time.sleep(6.0) or "done") == "done"
