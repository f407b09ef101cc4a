"""Kills a run with SIGKILL at random steps, again and again, and checks each time that nothing was lost or changed.

Faults: `worker`, one of two workers; `driver`, which the same command follows; `tree`, all processes of the run, which
it follows too; `node`, the whole host of one of two workers, which boots again (in namespaces, where those are
permitted). Each run must finish with the weights of an undisturbed one, bit for bit, with every step once in
metrics.jsonl, and with at most `save_every` steps done twice; else the exit status is 1.

Run it as `python -m benchmarks.soak_kill`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from benchmarks.recovery import newest_step
from tests.hosts import HEAD, Hosts, Unavailable
from tests.processes import GANDIST, kill_tree, training_workers
from tests.ranks import train_on_ranks

FAULTS = ("worker", "driver", "tree", "node")
STEPS, SAVE_EVERY, WORKERS = 400, 50, 2
PATIENCE = 300.0
"""Seconds within which a run must reach the next thing that is waited for."""
CONFIG: dict[str, Any] = {
    "run": {"name": "soak", "seed": 1},
    "dataset": {"name": "digits", "size": 16},
    "architecture": {"name": "dcgan", "width": 8, "latent": 16, "norm": "spectral"},
    "loss": {"name": "non-saturating", "regularizers": [{"name": "r1", "every": 4}]},
    "train": {"images": 16 * STEPS, "batch_size": 16, "log_every": 1, "save_every": SAVE_EVERY, "sample_every": 0},
    "cluster": {"workers": WORKERS},
}


@dataclass(frozen=True)
class Round:
    """What came of a kill. again: steps done twice. seconds: from the kill to the next step, None if none was left."""

    missed: list[str]
    again: int
    seconds: float | None


class Soak:
    """A run in a folder of its own that is killed once. hosts: where it runs, None for this machine."""

    def __init__(self, folder: Path, hosts: Hosts | None):
        self._folder, self._hosts = folder, hosts
        self._run = folder / "runs" / "soak"
        self._metrics = self._run / "metrics.jsonl"
        (folder / "soak.yaml").write_text(yaml.safe_dump(CONFIG))
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        command = [*GANDIST, "train", "soak.yaml"]
        with (self._folder / "stderr.txt").open("a") as stderr:
            streams: dict[str, Any] = {"cwd": self._folder, "stdout": subprocess.DEVNULL, "stderr": stderr}
            if self._hosts is None:
                return subprocess.Popen(command, text=True, **streams)
            return self._hosts.start(HEAD, *command, "--address", self._hosts.address, **streams)

    def _wait_for(self, condition: Callable[[], bool]) -> bool:
        """Waits until the condition holds; False if the command ends, or much time goes by, before that."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _kill(self, fault: str, chance: random.Random) -> None:
        """Does the harm and, unless Ray does by itself, what a user does then."""
        if fault == "node":
            assert self._hosts is not None
            name = chance.choice(["h1", "h2"])
            self._hosts.crash(name)
            self._hosts.boot(name)
        elif fault == "worker":
            os.kill(chance.choice(training_workers(self._process.pid)), signal.SIGKILL)
        else:
            if fault == "tree":
                kill_tree(self._process)
            self._process.kill()
            self._process.wait()
            self._process = self._start()

    def disturb(self, fault: str, at: int, chance: random.Random) -> Round:
        """Kills at step `at`, and follows the run to its end."""
        if not self._wait_for(lambda: newest_step(self._metrics) >= at):
            raise SystemExit(f"the run did not come to step {at}:\n{(self._folder / 'stderr.txt').read_text()}")
        file, begin, last = self._metrics.stat().st_ino, time.monotonic(), at

        def goes_on() -> bool:
            # The new group puts a file in the place of the old one, which ends at the checkpoint: no step of its own.
            nonlocal last
            step = newest_step(self._metrics)
            if self._metrics.stat().st_ino != file:
                return step % SAVE_EVERY != 0
            last = max(last, step)
            return False

        self._kill(fault, chance)
        seconds = time.monotonic() - begin if self._wait_for(goes_on) else None
        code = self._process.wait(timeout=PATIENCE)
        resumed = re.findall(
            r"on \d+ workers(?:, going on from step (\d+))?", (self._folder / "stderr.txt").read_text()
        )
        again = last - int(resumed[-1] or 0)
        return Round([*self._misses(code), *(["too much done twice"] if again > SAVE_EVERY else [])], again, seconds)

    def _misses(self, code: int) -> list[str]:
        missed = [f"exit code {code}"] if code else []
        steps = [json.loads(line)["step"] for line in self._metrics.read_text().splitlines()]
        if steps != list(range(1, STEPS + 1)):
            missed.append("steps are missing or twice in metrics.jsonl")
        if not code and digest(self._run) != undisturbed():
            missed.append("other weights")
        return missed


def digest(folder: Path) -> str:
    """SHA-256 of the trained generator."""
    return hashlib.sha256((folder / "generator.safetensors").read_bytes()).hexdigest()


@cache
def undisturbed() -> str:
    """That of the same run on as many ranks, which nothing disturbs and Ray does not touch."""
    with tempfile.TemporaryDirectory() as folder:
        train_on_ranks(WORKERS, [{"config": CONFIG, "folder": folder}])
        return digest(Path(folder))


def soak(fault: str, times: int, seed: int) -> list[Round]:
    """All rounds of one fault. Raises Unavailable if they need hosts and there can be none."""
    chance, rounds = random.Random(f"{seed} {fault}"), []
    with ExitStack() as stack:
        share = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        hosts = stack.enter_context(Hosts(share / "hosts")) if fault == "node" else None
        for number in range(times):
            folder = share / str(number)
            folder.mkdir()
            at = chance.randrange(1, STEPS - 50)
            found = Soak(folder, hosts).disturb(fault, at, chance)
            took = "no step was left" if found.seconds is None else f"next step after {found.seconds:.1f} s"
            said = ", ".join(found.missed) or "ok"
            print(f"{fault} {number + 1}: killed at step {at}, {took}, {found.again} steps twice: {said}", flush=True)
            rounds.append(found)
    return rounds


def row(fault: str, rounds: list[Round]) -> str:
    """A line of the table."""
    missed = sum(bool(found.missed) for found in rounds)
    seconds = [found.seconds for found in rounds if found.seconds is not None]
    spread = f"{min(seconds):.1f} / {statistics.median(seconds):.1f} / {max(seconds):.1f}" if seconds else "-"
    return f"{fault:<8}{len(rounds):>6}{missed:>8}{max(found.again for found in rounds):>13}   {spread}"


def main() -> int:
    """Soaks and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", metavar="FAULT", nargs="*", default=FAULTS, help=f"default: {' '.join(FAULTS)}")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.times < 1 or not set(given.faults) <= set(FAULTS):
        parser.error(f"--times is at least 1, and FAULT one of {', '.join(FAULTS)}")
    print(f"seed {given.seed}; {STEPS} steps, a checkpoint every {SAVE_EVERY}", flush=True)
    table: dict[str, list[Round]] = {}
    for fault in given.faults:
        try:
            table[fault] = soak(fault, given.times, given.seed)
        except Unavailable as reason:
            print(f"{fault}: left out, {reason}", flush=True)
    print("fault     runs  missed  twice (most)   kill to next step, s: min / median / max")
    for fault, rounds in table.items():
        print(row(fault, rounds))
    return int(any(found.missed for rounds in table.values() for found in rounds))


if __name__ == "__main__":
    sys.exit(main())
