"""What Weights & Biases costs a run whose server is dead, slow (30 s a request) or dies in mid-run.

The shipped digits config in one process as a command, offline and against each server, each time beside the same
command with W&B disabled: both at once, each with all that it starts on a core of its own, and once more with the cores
swapped, as one core can be slower than another by more than what is looked for. What slows the machine slows both, and
what W&B does in processes of its own counts against its run. A round's share of the speed is the geometric mean of the
two. `start` is from the command to the fourth row of metrics.jsonl, beside which the client is imported and starts,
speed that of the steps after it, `end` from the last row to the end of the process; start and end as seconds more than
with W&B disabled. Exits with 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

DISABLED = "disabled"
MODES = ("offline", "dead", "slow", "dying")
ROW, STARTING = 50, 4
"""Steps between rows of metrics.jsonl, and rows that belong to the start."""
SLOWEST, START, END = 0.95, 15.0, 60.0
"""Targets: share of the speed without W&B, and seconds more at start and end."""
SERVER = Path(__file__).parents[1] / "tests" / "wandb_server.py"
CONFIG = Path(__file__).parents[1] / "configs" / "digits.yaml"
ON_A_CORE = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); os.execv(sys.argv[2], sys.argv[2:])"


@dataclass(frozen=True)
class Timing:
    """Of one run. speed: images per second. start, end: seconds."""

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


def measure(mode: str, steps: int, core: int) -> Timing:
    """Trains once on a core. Exits if the run fails or a row is missing."""
    with tempfile.TemporaryDirectory() as name, server(mode) as url:
        folder = Path(name)
        wandb = {"mode": mode if mode in (DISABLED, "offline") else "online"}
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
                [sys.executable, "-c", ON_A_CORE, str(core), sys.executable, "-m", "gandist", "train", "run.yaml"],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, **client},
            )
            while process.poll() is None and not (rows.exists() and rows.read_bytes().count(b"\n") >= STARTING):
                time.sleep(0.01)
            started = time.time()
            code = process.wait()
            end = time.time()
            stderr.seek(0)
            logged = [json.loads(row) for row in rows.read_text().splitlines()] if rows.exists() else []
            if code or len(logged) != -(-steps // ROW):
                raise SystemExit(f"{mode}: ended with {code} after {len(logged)} rows:\n{stderr.read()}")
        speed = statistics.harmonic_mean([row["images_per_second"] for row in logged[STARTING:]])
        return Timing(speed, started - begin, end - rows.stat().st_mtime)


def main() -> int:
    """Measures and prints. Returns 0 if every target is reached, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    given = parser.parse_args()
    if given.rounds < 1 or given.steps < 2 * STARTING * ROW:
        parser.error(f"--rounds must be at least 1, and --steps at least {2 * STARTING * ROW}")
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        parser.error("this takes two cores")
    found: dict[str, list[tuple[Timing, Timing]]] = {mode: [] for mode in MODES}
    shares: dict[str, list[float]] = {mode: [] for mode in MODES}
    with ThreadPoolExecutor(2) as both:
        for number, mode in itertools.product(range(given.rounds), MODES):
            for order in (cores, cores[::-1]):
                one, plain = both.map(measure, (mode, DISABLED), (given.steps,) * 2, order)
                found[mode].append((one, plain))
                said = f"round {number + 1}: {mode} {one.speed:.0f}, {DISABLED} {plain.speed:.0f} images/s"
                print(said, file=sys.stderr, flush=True)
            swapped = found[mode][-2:]
            shares[mode].append(statistics.geometric_mean(one.speed / plain.speed for one, plain in swapped))
    reached = True
    print(f"{'W&B':<10}{'images/s':>10}{'of disabled':>24}{'start, s more':>15}{'end, s more':>13}")
    for mode, pairs in found.items():
        start = statistics.median(one.start - plain.start for one, plain in pairs)
        end = statistics.median(one.end - plain.end for one, plain in pairs)
        share = statistics.median(shares[mode])
        reached &= share >= SLOWEST and start <= START and end <= END
        told = f"{share:.3f} ({min(shares[mode]):.3f} to {max(shares[mode]):.3f})"
        speed = statistics.median(one.speed for one, _ in pairs)
        print(f"{mode:<10}{speed:>10.0f}{told:>24}{start:>15.2f}{end:>13.2f}")
    print(
        f"targets: at least {SLOWEST}, at most {START:.0f} s, at most {END:.0f} s; {'reached' if reached else 'missed'}"
    )
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
