"""Runs on several hosts: the command as a user types it on the head, and the record that `recording` makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.hosts import HEAD, Hosts

SIZE = 1797
"""Of the digits."""


class Record:
    """What `recording` writes down of a run, and the pace that it keeps. share: a folder that all hosts see."""

    def __init__(self, share: Path, name: str):
        self.name, self.place = name, share / f"{name}.record"
        self.place.mkdir()
        (self.place / "seen.jsonl").touch()
        self.pace(0.03)

    def pace(self, seconds: float) -> None:
        """How long a step takes from now on, at least."""
        draft = self.place / "pace.new"
        draft.write_text(str(seconds))
        draft.replace(self.place / "pace")

    @property
    def seen(self) -> list[dict[str, Any]]:
        """A row for each rank and step, in order of time: host, step, start in the global batch, index of samples."""
        lines = (self.place / "seen.jsonl").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    @property
    def step(self) -> int:
        """That of the newest row."""
        seen = self.seen
        return seen[-1]["step"] if seen else 0

    def done_again(self) -> list[int]:
        """Steps that were done more than once; the first batch is also rehearsed at each start."""
        times = Counter(row["step"] for row in self.seen if row["start"] == 0)
        return [step for step, count in times.items() if count > 1 and step]


class RunOnHosts(Record):
    """A run whose driver is on the head."""

    def __init__(self, hosts: Hosts, share: Path, config: dict[str, Any]):
        super().__init__(share, config["run"]["name"])
        self._hosts, self._share, self._config = hosts, share, config
        self.folder = share / "runs" / self.name
        loss = {"name": "recorded", "folder": str(self.place), **config["loss"]}
        dataset = {**config["dataset"], "name": "numbered-digits"}
        (share / f"{self.name}.yaml").write_text(yaml.safe_dump({**config, "loss": loss, "dataset": dataset}))
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "gandist", "train", f"{self.name}.yaml", "--address", self._hosts.address]
        with (self.place / "stderr.txt").open("a") as stderr:
            return self._hosts.start(HEAD, *command, cwd=self._share, stdout=subprocess.DEVNULL, stderr=stderr)

    def again(self) -> None:
        """The same command once more."""
        self.process = self._start()

    @property
    def said(self) -> str:
        """What all commands of the run said on stderr."""
        return (self.place / "stderr.txt").read_text()

    @property
    def logged(self) -> list[int]:
        """The steps of metrics.jsonl."""
        return [json.loads(line)["step"] for line in (self.folder / "metrics.jsonl").read_text().splitlines()]

    def rank_on(self, host: str) -> int:
        """The rank that the host's worker has, of two: rank 0 has the first rows."""
        return int(next(row for row in self.seen if row["host"] == host)["start"] > 0)

    def samples(self) -> list[int]:
        """The samples in the order in which the run saw them; a step that was done again saw the same ones."""
        found: dict[tuple[int, int], int] = {}
        for row in self.seen:
            for offset, index in enumerate(row["index"]):
                place = row["step"], row["start"] + offset
                assert found.setdefault(place, index) == index, f"another sample at {place} when it was done again"
        return [found[place] for place in sorted(found)]

    def wait_for(self, condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
        """Waits until the condition holds; fails if the run ends before, or if it takes too long."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"the run ended before {what}: {self.said}"
            assert time.monotonic() < deadline, f"no {what} within {seconds:.0f} s: {self.said}"
            time.sleep(0.05)

    def end(self, seconds: float = 180) -> int:
        """Waits for the end of the command; its exit code."""
        return self.process.wait(timeout=seconds)
