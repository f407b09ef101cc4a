"""What Weights & Biases costs a run whose server is dead, slow (30 s a request) or dies in mid-run.

The shipped digits config in one process as a command, with W&B disabled, offline and against each server, in
interleaved rounds. Speed is that of the steps; `start` is from the command to the first row of metrics.jsonl, `end`
from the last row to the end of the process, both as seconds more than with W&B disabled. Exits with 1 if a target is
missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

MODES = ("disabled", "offline", "dead", "slow", "dying")
SLOWEST, START, END = 0.95, 15.0, 60.0
"""Targets: share of the speed without W&B, and seconds more at start and end."""
SERVER = Path(__file__).parents[1] / "tests" / "wandb_server.py"
CONFIG = Path(__file__).parents[1] / "configs" / "digits.yaml"


@dataclass(frozen=True)
class Timing:
    """Of one run. speed: images per second in the steps. start, end: seconds."""

    speed: float
    start: float
    end: float


@contextmanager
def server(mode: str) -> Iterator[str]:
    """The address that the client is given; nobody is there if the server is dead or not asked."""
    if mode not in ("slow", "dying"):
        yield "http://127.0.0.1:9"
        return
    command = [sys.executable, str(SERVER), mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


def measure(mode: str, steps: int) -> Timing:
    """Trains once. Exits if the run fails or a row is missing."""
    with tempfile.TemporaryDirectory() as name, server(mode) as url:
        folder = Path(name)
        wandb = {"mode": mode if mode in ("disabled", "offline") else "online"}
        config = {
            "extends": str(CONFIG),
            "run": {"name": "run"},
            "train": {"images": 64 * steps},
            "evaluate": {"every": 0},
            "cluster": {"workers": 0},
            "tracking": {"wandb": wandb},
        }
        (folder / "run.yaml").write_text(yaml.safe_dump(config))
        client = {
            "WANDB_BASE_URL": url,
            "WANDB_API_KEY": "0" * 40,
            "NETRC": str(folder / "none"),
            "WANDB_CONFIG_DIR": str(folder / "settings"),
        }
        rows, begin = folder / "runs" / "run" / "metrics.jsonl", time.time()
        with (folder / "stderr").open("w+") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "gandist", "train", "run.yaml"],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, **client},
            )
            while process.poll() is None and not (rows.exists() and rows.stat().st_size):
                time.sleep(0.01)
            first = time.time()
            code = process.wait()
            end = time.time()
            stderr.seek(0)
            logged = len(rows.read_text().splitlines()) if rows.exists() else 0
            if code or logged != -(-steps // 50):
                raise SystemExit(f"{mode}: ended with {code} after {logged} rows:\n{stderr.read()}")
        result = json.loads((rows.parent / "result.json").read_text())
        return Timing(result["images_per_second"], first - begin, end - rows.stat().st_mtime)


def main() -> int:
    """Measures and prints. Returns 0 if every target is reached, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1000)
    given = parser.parse_args()
    if given.rounds < 1 or given.steps < 1:
        parser.error("--rounds and --steps must be at least 1")
    found: dict[str, list[Timing]] = {mode: [] for mode in MODES}
    for number in range(given.rounds):
        for mode in MODES if number % 2 == 0 else MODES[::-1]:
            found[mode].append(measure(mode, given.steps))
            print(f"round {number + 1}: {mode} {found[mode][-1].speed:.0f} images/s", file=sys.stderr, flush=True)
    reached = True
    print(f"{'W&B':<10}{'images/s':>10}{'of disabled':>24}{'start, s more':>15}{'end, s more':>13}")
    for mode in MODES:
        pairs = list(zip(found[mode], found["disabled"], strict=True))
        shares = [one.speed / plain.speed for one, plain in pairs]
        start = statistics.median(one.start - plain.start for one, plain in pairs)
        end = statistics.median(one.end - plain.end for one, plain in pairs)
        share = statistics.median(shares)
        reached &= share >= SLOWEST and start <= START and end <= END
        told = f"{share:.3f} ({min(shares):.3f} to {max(shares):.3f})"
        speed = statistics.median(one.speed for one in found[mode])
        print(f"{mode:<10}{speed:>10.0f}{told:>24}{start:>15.2f}{end:>13.2f}")
    print(
        f"targets: at least {SLOWEST}, at most {START:.0f} s, at most {END:.0f} s; {'reached' if reached else 'missed'}"
    )
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
