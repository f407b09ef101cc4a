"""Whether a long run leaks: memory, open files and threads of every process of a run of many tiny steps.

A generator of 2-D Gaussians is trained with log lines, samples and checkpoints, in one process or on `--workers`. After
a warm-up of a fifth of the steps a line is fitted to each process's resident memory. Exits with 1 if memory grows by
more than `--slope`, beyond twice the standard error, or if files or threads grow.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

WARM_UP = 0.2
"""Share of the steps that is left out: caches fill, allocators settle."""
FEWEST = 20
"""Samples that a process needs for a line."""


@dataclass
class History:
    """What was seen of a process, sample by sample."""

    name: str
    steps: list[int] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def look(self, pid: int, step: int) -> None:
        """Adds a sample. Raises OSError if the process is gone."""
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        if "VmRSS" not in status:
            return
        self.steps.append(step)
        self.megabytes.append(int(status["VmRSS"].split()[0]) / 1024)
        self.files.append(files)
        self.threads.append(int(status["Threads"]))

    def after(self, step: int) -> History:
        """The samples from a step on."""
        begin = next((row for row, one in enumerate(self.steps) if one >= step), len(self.steps))
        return History(self.name, self.steps[begin:], self.megabytes[begin:], self.files[begin:], self.threads[begin:])

    def slope(self) -> tuple[float, float]:
        """MB per 10,000 steps, and its standard error."""
        x, y = np.array(self.steps) / 10_000, np.array(self.megabytes)
        spread = ((x - x.mean()) ** 2).sum()
        if not spread:
            return 0.0, 0.0
        slope = ((x - x.mean()) * y).sum() / spread
        rest = y - y.mean() - slope * (x - x.mean())
        return float(slope), float(np.sqrt((rest**2).sum() / max(1, len(x) - 2) / spread))


def tree(pid: int) -> dict[int, str]:
    """The process and all below it, with their names."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            except OSError:
                continue
            # Ray's workers call themselves what they do, "ray::NAME"; others by their program.
            names[int(entry.name)] = command if command.startswith("ray::") else Path(command).name
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return {one: names.get(one, "?") for one in found}


def step_of(rows: Path) -> int:
    """The last logged step."""
    if not rows.exists():
        return 0
    with rows.open("rb") as file:
        file.seek(max(0, rows.stat().st_size - 4000))
        whole = file.read().rpartition(b"\n")[0].rpartition(b"\n")[2]
    return json.loads(whole)["step"] if whole else 0


def soak(steps: int, workers: int, every: float, minutes: float) -> dict[int, History]:
    """Trains and watches, for that many minutes at most. Exits if the run fails."""
    config = {
        "run": {"name": "soak"},
        "dataset": {"name": "gaussians"},
        "architecture": {"name": "mlp", "width": 16},
        "loss": "non-saturating",
        "train": {"images": 32 * steps, "batch_size": 32, "log_every": 50, "sample_every": 500, "save_every": 1000},
        "cluster": {"workers": workers},
    }
    found: dict[int, History] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "soak.yaml").write_text(yaml.safe_dump(config))
        deadline, rows = time.monotonic() + 60 * minutes, folder / "runs" / "soak" / "metrics.jsonl"
        with (folder / "stderr").open("w+") as stderr:
            command = [sys.executable, "-m", "gandist", "train", "soak.yaml"]
            process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=stderr)
            while process.poll() is None:
                if time.monotonic() > deadline:
                    # Saves and leaves.
                    process.terminate()
                    process.wait()
                    break
                if step := step_of(rows):
                    for pid, title in tree(process.pid).items():
                        try:
                            found.setdefault(pid, History(title)).look(pid, step)
                        except OSError:
                            continue
                time.sleep(every)
            stderr.seek(0)
            if process.returncode not in (0, 3):
                raise SystemExit(f"the run ended with {process.returncode}:\n{stderr.read()}")
        print(f"{step_of(rows):,} of {steps:,} steps, {workers} workers")
    return found


def grew(values: list[int]) -> bool:
    """Whether the last quarter's median is above the first's."""
    quarter = max(1, len(values) // 4)
    return statistics.median(values[-quarter:]) > statistics.median(values[:quarter])


def main() -> int:
    """Prints a row for each process. Returns 1 if one of them grows, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=0, help="default: 0, in one process")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two samples")
    parser.add_argument("--minutes", type=float, default=24 * 60, help="stops the run after that long")
    parser.add_argument("--slope", type=float, default=1.0, help="MB per 10,000 steps that are let pass")
    given = parser.parse_args()
    found = soak(given.steps, given.workers, given.every, given.minutes)
    last = max((one.steps[-1] for one in found.values() if one.steps), default=0)
    print(f"{'process':<28}{'samples':>8}{'MB per 10,000 steps':>22}{'MB':>18}{'files':>12}{'threads':>12}")
    bad = []
    for pid, whole in found.items():
        one = whole.after(int(WARM_UP * last))
        if len(one.steps) < FEWEST:
            continue
        slope, error = one.slope()
        ends = [f"{values[0]:.0f} → {values[-1]:.0f}" for values in (one.megabytes, one.files, one.threads)]
        line = f"{slope:.3f} ± {error:.3f}"
        title = f"{one.name[:18]} {pid}"
        print(f"{title:<28}{len(one.steps):>8}{line:>22}{ends[0]:>18}{ends[1]:>12}{ends[2]:>12}")
        if slope - 2 * error > given.slope or grew(one.files) or grew(one.threads):
            bad.append(title)
    print(f"grows: {', '.join(bad)}" if bad else f"none grows by more than {given.slope:g} MB per 10,000 steps")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
