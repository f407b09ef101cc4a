"""From the command to the end of the first step: gandist on two workers against a minimal script for Ray Train.

Both start as commands, rounds are interleaved, and a first round of each, which fills caches, is left out. A phase ends
with a line on stderr or with a file that rank 0 writes, the first step with a file for both. gandist says up to 0.2 s
late that its workers are up, since its driver looks for news five times a second.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from phases import compared

PHASES = ("imports and checks", "Ray up", "workers up", "first step")
ENDS = (("starting Ray",), ("starting the workers",), ("opening the data set", "training"))
"""How the line on stderr begins that ends each phase but the last."""
TARGET = 1.25


@dataclass(frozen=True)
class Contestant:
    """A command, and the files that its rank 0 writes at the ends of the last phases."""

    command: list[str]
    files: tuple[Path, ...]


def gandist(config: str, folder: Path) -> Contestant:
    """A run of one step, whose logging step is the first line of metrics.jsonl."""
    settings = ["train.images=1", "train.log_every=1", "evaluate.every=0", "run.name=run", f"cluster.storage={folder}"]
    command = [sys.executable, "-m", "gandist", "train", config, *settings, "--workers", "2"]
    return Contestant(command, (folder / "run" / "metrics.jsonl",))


def minimal(config: str, folder: Path) -> Contestant:
    """The minimal script, which knows no config."""
    script = Path(__file__).with_name("minimal_ray_train.py")
    return Contestant([sys.executable, str(script), str(folder)], (folder / "workers-up", folder / "first-step"))


def measure(contestant: Contestant) -> list[float]:
    """Seconds of each phase."""
    # Any explicit value silences a notice of Ray at each start.
    environment = {"RAY_AUTH_MODE": "token", **os.environ}
    # Both clocks at the same moment: files carry the time of day.
    begin, begin_of_day = time.monotonic(), time.time()
    process = subprocess.Popen(
        contestant.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    ends: list[float] = []
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if len(ends) < len(ENDS) and line.startswith(ENDS[len(ends)]):
            ends.append(time.monotonic() - begin)
    process.wait()
    ends += [file.stat().st_mtime - begin_of_day for file in contestant.files if file.exists()]
    if process.returncode or len(ends) != len(PHASES):
        raise SystemExit(f"{' '.join(contestant.command)} ended with {process.returncode}:\n{''.join(said)}")
    return [end - start for start, end in zip([0.0, *ends], ends, strict=False)]


def main() -> int:
    """Measures and prints. Returns 0 if the target is reached, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    standard = Path(__file__).parents[1] / "configs/digits.yaml"
    parser.add_argument("config", metavar="CONFIG", nargs="?", default=str(standard), help="default: configs/digits")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("--rounds must be at least 1")
    contestants = (gandist, minimal)

    def seconds(which: int) -> list[float]:
        with tempfile.TemporaryDirectory() as folder:
            return measure(contestants[which](given.config, Path(folder)))

    return compared(("gandist", "minimal script"), PHASES, given.rounds, TARGET, seconds)


if __name__ == "__main__":
    sys.exit(main())
