"""From a worker's death to the next step: gandist on two workers against a minimal script for Ray Train.

Both start as commands; in mid-run one of the two workers gets SIGKILL. The end is the first line that rank 0 writes of
a step after that. Rounds are interleaved. Run it as `python -m benchmarks.recovery`.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.processes import kill_tree, training_workers

STEPS, AT_LEAST, SAVE_EVERY = 100_000, 120, 50
"""More steps than are ever done, how many are done before the kill, and how many lie between two checkpoints."""
PATIENCE, SETTLED = 180.0, 0.3
"""Seconds until a contestant is given up, and after which a group with a dead worker has written its last line."""


@dataclass(frozen=True)
class Contestant:
    """A command, and the file into which its rank 0 writes a line for each step."""

    command: list[str]
    file: Path


def gandist(folder: Path) -> Contestant:
    """A run of configs/digits.yaml that logs every step."""
    config = str(Path(__file__).parents[1] / "configs/digits.yaml")
    every = ["train.log_every=1", "train.save_every=50", "train.sample_every=0", "evaluate.every=0"]
    settings = [*every, f"train.images={64 * STEPS}", "run.name=run", f"cluster.storage={folder}"]
    command = [sys.executable, "-m", "gandist", "train", config, *settings, "--workers", "2"]
    return Contestant(command, folder / "run" / "metrics.jsonl")


def minimal(folder: Path) -> Contestant:
    """The minimal script with Ray's own checkpoints."""
    script = Path(__file__).with_name("minimal_ray_train.py")
    return Contestant([sys.executable, str(script), str(folder), str(STEPS)], folder / "steps")


def newest_step(file: Path) -> int:
    """The number in the last whole line, 0 if there is none."""
    if not file.exists():
        return 0
    whole = [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
    found = re.search(r"\d+", whole[-1]) if whole else None
    return int(found[0]) if found else 0


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Raises SystemExit if the process ends before the condition holds, or if that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{process.args} did not go on")
        time.sleep(0.01)


def measure(contestant: Contestant, rank: int) -> float:
    """Seconds from the kill of the worker of that rank to the next step."""
    # Any explicit value silences a notice of Ray at each start.
    environment = {"RAY_AUTH_MODE": "token", **os.environ}
    process = subprocess.Popen(
        contestant.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    try:
        wait_for(lambda: newest_step(contestant.file) >= AT_LEAST, process)
        os.kill(training_workers(process.pid)[rank], signal.SIGKILL)
        begin = time.monotonic()
        # The other worker may still write the step that both had done.
        time.sleep(SETTLED)
        before = newest_step(contestant.file)

        def goes_on() -> bool:
            # gandist begins by taking back the lines since the checkpoint, which is no step.
            step = newest_step(contestant.file)
            return step != before and step % SAVE_EVERY != 0

        wait_for(goes_on, process)
        return time.monotonic() - begin
    finally:
        kill_tree(process)


def told(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("--rounds must be at least 1")
    seconds: dict[str, list[float]] = {"gandist": [], "minimal": []}
    for number in range(given.rounds):
        contestants = (gandist, minimal) if number % 2 == 0 else (minimal, gandist)
        for contestant in contestants:
            with tempfile.TemporaryDirectory() as folder:
                took = measure(contestant(Path(folder)), rank=number % 2)
            seconds[contestant.__name__].append(took)
            print(f"round {number + 1}: {contestant.__name__} {took:.2f} s", flush=True)
    for name, values in seconds.items():
        print(f"{name:<10}{told(values)} s from SIGKILL to the next step")
    ratios = [ours / theirs for ours, theirs in zip(seconds["gandist"], seconds["minimal"], strict=True)]
    print(f"ratio     {told(ratios)}")


if __name__ == "__main__":
    main()
