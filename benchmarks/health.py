"""False alarms of the watcher `health`: shipped configs that train well must raise none in their first steps.

Trains each config with each seed in a process of its own, with one thread, as it is shipped but for the number of
workers, scores and the interval of the checks. Prints the readings of each run that came nearest to a threshold, and
the share of the time that probes took; exits with 1 if there was an alarm.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from gandist.config.compose import compose
from gandist.config.resolve import resolve
from gandist.launch.watching import Watchers
from gandist.tracking.alarms import FILE_NAME
from gandist.tracking.metrics_file import read
from gandist.training.loop import train
from gandist.training.run import RunView
from gandist.training.surroundings import Announce, Surroundings

CONFIGS = Path(__file__).parents[1] / "configs"
DEFAULT = ("digits", "fashion-mnist", "ring8")


def run(name: str, seed: int, steps: int, every: int, data: str | None) -> tuple[list[dict], list[dict]]:
    """Alarms and logged rows of the first steps of a config."""
    torch.set_num_threads(1)
    given = [f"run.seed={seed}", f"tracking.health.every={every}", "evaluate.every=0", "cluster.workers=0"]
    given += ["train.save_every=0", "train.sample_every=0", f"train.log_every={every}"]
    if data is not None:
        given.append(f"dataset.root={data}/{name}")
    config = resolve(compose(CONFIGS / f"{name}.yaml", given))
    asked = 0

    def watch(view: RunView) -> Announce:
        return Watchers(config, view, "rank 0", lambda text: print(f"{name}, seed {seed}: {text}", flush=True)).announce

    def requests() -> set[str]:
        nonlocal asked
        asked += 1
        return {"stop"} if asked >= steps else set()

    with tempfile.TemporaryDirectory(prefix="gandist-health-") as folder:
        train(config, config.dataset.open(), Surroundings(Path(folder), watch=watch, requests=requests))
        return read(Path(folder, FILE_NAME)), read(Path(folder, "metrics.jsonl"))


def summary(rows: list[dict]) -> dict[str, float]:
    """The readings nearest to their thresholds."""
    norms = [row["gradient_norm/generator"] for row in rows]
    found = {
        "diversity": min(row["health/diversity"] for row in rows if "health/diversity" in row),
        "nearest": min((row["health/nearest"] for row in rows if "health/nearest" in row), default=float("nan")),
        "gap": max(row["logits/real"] - row["logits/fake"] for row in rows),
        "accuracy": max(min(row["accuracy/real"], row["accuracy/fake"]) for row in rows),
        "gradient": min(norms) / max(norms),
        # No pictures are drawn: all of the samples' time is the probes'.
        "cost": sum(row["seconds/samples"] for row in rows) / sum(row["seconds/step"] for row in rows),
    }
    return {name: round(value, 4) for name, value in found.items()}


def main() -> int:
    """Prints a row for each run. Returns 1 if there was an alarm, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", nargs="+", default=DEFAULT)
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=50, help="steps between the looks of every check")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at the same time")
    parser.add_argument("--data", default=os.environ.get("GANDIST_TEST_DATA"), help="folder with fashion-mnist/")
    given = parser.parse_args()
    jobs, alarms = [], 0
    # Spawned: a process that torch has worked in is not to be forked.
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        for name in given.configs:
            root = given.data if given.data and Path(given.data, name).is_dir() else None
            jobs += [(name, seed, pool.submit(run, name, seed, given.steps, given.every, root)) for seed in given.seeds]
        for name, seed, job in jobs:
            raised, rows = job.result()
            alarms += len(raised)
            print(json.dumps({"config": name, "seed": seed, "alarms": len(raised), **summary(rows)}), flush=True)
    print(f"{alarms} alarms in {len(jobs)} runs of {given.steps} steps")
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
