"""The mirror of a run folder, and who owns the run, on pyarrow's local file system: storage without a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from gandist.errors import ConfigError, RunError
from gandist.launch import ownership
from gandist.launch.ownership import Ownership
from gandist.training import checkpoint, objects
from gandist.training.mirror import Mirror
from gandist.training.objects import ATTEMPTS, Objects
from gandist.training.staging import staging


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PAUSE", 0.001)
    for name, seconds in (("REFRESH", 0.05), ("STALE", 1.0), ("SETTLE", 0.05)):
        monkeypatch.setattr(ownership, name, seconds)


def saved(run: Path, step: int) -> Path:
    networks = {"generator.weight": torch.full((4,), float(step))}
    return checkpoint.save(run / "checkpoints", step, networks, {"step": step}, "run: {}\n", {}, checkpoint.Kept(10))


class Recorded:
    """A file system that writes down what is asked of it and fails as told."""

    def __init__(self, files: Any, failures: int = 0):
        self._files, self.failures = files, failures
        self.asked: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._files, name)
        if name == "type_name":
            return method

        def asked(target: Any, *more: Any, **options: Any) -> Any:
            self.asked.append((name, str(target)))
            if self.failures:
                self.failures -= 1
                raise OSError("Slow down\nand more about it")
            return method(target, *more, **options)

        return asked


def test_the_manifest_comes_last_and_goes_first(tmp_path: Path):
    run, mirror = tmp_path / "run", Mirror(f"file://{tmp_path}/there")
    for step in (1, 2):
        mirror.publish(saved(run, step), checkpoint.Kept(2))
    recorded = mirror.objects._files = Recorded(mirror.objects._files)
    (run / "metrics.jsonl").write_text('{"step": 3}\n')
    mirror.publish(saved(run, 3), checkpoint.Kept(2))
    written = [Path(path).name for what, path in recorded.asked if what == "open_output_stream"]
    assert written == ["metrics.jsonl", "networks.safetensors", "state.pt", "config.yaml", "manifest.json"]
    deleted = [(what, path.partition("/checkpoints/")[2]) for what, path in recorded.asked if what.startswith("delete")]
    assert deleted == [("delete_file", "step-00000001/manifest.json"), ("delete_dir", "step-00000001")]
    mirror.publish(run / "checkpoints" / "step-00000003", checkpoint.Kept(2))
    again = [what for what, path in recorded.asked if path.endswith("step-00000003/manifest.json")]
    assert again == ["open_output_stream", "delete_file", "open_output_stream"], "no old manifest beside new files"


def test_what_has_not_changed_is_not_sent_again(tmp_path: Path):
    run, mirror = tmp_path / "run", Mirror(f"file://{tmp_path}/there")
    (run / "samples").mkdir(parents=True)
    (run / "samples" / "one.png").write_bytes(b"1")
    (run / "wandb" / "offline-run").mkdir(parents=True)
    (run / "wandb" / "offline-run" / "big").write_bytes(b"2")
    (run / "metrics.jsonl.partial").write_bytes(b"3")
    mirror.put_changed(run)
    assert sorted(mirror.objects.list()) == ["samples/one.png"]
    recorded = mirror.objects._files = Recorded(mirror.objects._files)
    mirror.put_changed(run)
    assert recorded.asked == []
    mirror.put_changed(run, everything=True)
    assert sorted(mirror.objects.list()) == ["samples/one.png", "wandb/offline-run/big"]


def test_another_process_goes_on_where_the_first_one_was(tmp_path: Path):
    run, other = tmp_path / "run", tmp_path / "other"
    first, second = (Mirror(f"file://{tmp_path}/there") for _ in range(2))
    assert second.restore(other) == (None, {})
    path = saved(run, 5)
    (run / "metrics.jsonl").write_text('{"step": 5}\n')
    first.publish(path, checkpoint.Kept(2))
    found, wrong = second.restore(other)
    assert (found, wrong) == (other / "checkpoints" / "step-00000005", {})
    assert found is not None
    assert checkpoint.damage(found) is None
    assert (other / "metrics.jsonl").read_text() == '{"step": 5}\n'
    (tmp_path / "there" / "metrics.jsonl").write_text("newer")
    second.put_changed(other)
    assert (tmp_path / "there" / "metrics.jsonl").read_text() == "newer", "only what has changed here is sent"


def test_requests_are_retried_and_then_the_place_is_named(tmp_path: Path):
    there = Objects(f"file://{tmp_path}/there")
    recorded = there._files = Recorded(there._files, failures=ATTEMPTS - 1)
    recorded.asked.clear()
    there.write("one", b"1")
    assert there.read("one") == b"1"
    recorded.failures = ATTEMPTS
    with pytest.raises(OSError, match=f"^file://{tmp_path}/there: Slow down$"):
        there.read("one")
    recorded.failures = 1
    assert there.read("two") is None


def owners(place: Path) -> tuple[Ownership, list[str]]:
    warnings: list[str] = []
    return Ownership(Objects(f"file://{place}"), warnings.append), warnings


def test_one_owner_at_a_time_and_nothing_left_of_it(tmp_path: Path):
    (first, _), (second, _) = owners(tmp_path / "there"), owners(tmp_path / "there")
    first.take()
    # It is refreshed: older than STALE it would be taken over.
    time.sleep(1.5)
    with pytest.raises(ConfigError, match=f"is in use by host .*, pid {os.getpid()}; wait for it"):
        second.take()
    first.require()
    first.release()
    assert not (tmp_path / "there").exists()
    second.take()
    second.release()


def left_behind(place: Path, **entries: Any) -> None:
    owner = {"host": "elsewhere", "pid": 4711, "machine": "another", "token": "theirs", "time": time.time()}
    place.mkdir()
    (place / ".lock").write_text(json.dumps(owner | entries))


def test_a_silent_owner_is_replaced_with_a_warning(tmp_path: Path):
    left_behind(tmp_path / "there", time=time.time() - 10)
    owner, warnings = owners(tmp_path / "there")
    owner.take()
    owner.release()
    assert "over from host elsewhere, pid 4711" in warnings[0]


def test_a_dead_process_of_this_machine_owns_nothing(tmp_path: Path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left_behind(tmp_path / "there", pid=dead.pid, machine=ownership._machine())
    owner, _ = owners(tmp_path / "there")
    owner.take()
    owner.release()


def test_an_owner_that_was_replaced_notices_and_leaves_the_lock(tmp_path: Path):
    (first, _), place = owners(tmp_path / "there"), tmp_path / "there"
    first.take()
    theirs = json.dumps({"host": "elsewhere", "pid": 4711, "token": "theirs"})
    deadline = time.monotonic() + 30
    while not first._lost:
        assert time.monotonic() < deadline
        # Written again: a refresh that was on its way may have replaced it.
        (place / ".lock").write_text(theirs)
        time.sleep(0.02)
    with pytest.raises(RunError, match="was taken over by host elsewhere, pid 4711"):
        first.require()
    first.release()
    assert (place / ".lock").read_text() == theirs


def test_staging_folders_of_killed_processes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / "gandist-staging-left"
    left.mkdir()
    (left / ".lock").touch()
    os.utime(left, (0, 0))
    with staging() as used:
        os.utime(used, (0, 0))
        with staging() as another:
            assert used.is_dir(), "that of a living process stays"
            assert set(tmp_path.iterdir()) == {used, another}
    assert not list(tmp_path.iterdir())
