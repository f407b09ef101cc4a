"""What an evaluation beside the training (`evaluate.async`) costs its throughput.

Two runs with one worker and the same checkpoints: one is not evaluated, of the other checkpoints are scored by a
process of its own. Both are real commands on a Ray of their own; rounds are interleaved. Images per second are those
from the first checkpoint, with which the first evaluation begins, to the last log line. With `--every` so small that
an evaluation begins when the one before ends, as here, it is the most that they can cost. It needs a spare core; on a
machine where others compute, too, it measures them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from gandist.config.compose import compose
from gandist.config.resolve import resolve
from gandist.tracking.metrics_file import read

TARGET = 0.95


def settings(arguments: argparse.Namespace, beside: bool) -> list[str]:
    """The overrides of one of the two runs."""
    every, batch = arguments.every, resolve(compose(arguments.config)).images_per_step
    shared = [
        f"train.images={batch * arguments.steps}",
        f"train.save_every={every}",
        "train.sample_every=0",
        f"train.log_every={max(1, every // 20)}",
        "cluster.workers=1",
        "cluster.threads=1",
        "cluster.gpu=false",
        "cluster.storage=.",
    ]
    count = [] if arguments.count is None else [f"evaluate.count={arguments.count}"]
    return [*shared, *count, f"evaluate.every={every if beside else 0}", f"evaluate.async={str(beside).lower()}"]


def measure(arguments: argparse.Namespace, beside: bool) -> tuple[float, int]:
    """Images per second of one run, and how many evaluations came back while it trained."""
    with tempfile.TemporaryDirectory(prefix="gandist-beside-") as folder:
        config, name = Path(arguments.config).resolve(), "beside" if beside else "alone"
        command = [sys.executable, "-m", "gandist", "train", str(config), f"run.name={name}"]
        ended = subprocess.run(
            [*command, *settings(arguments, beside)], cwd=folder, capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise SystemExit(ended.stderr)
        warned = [line for line in ended.stderr.splitlines() if line.startswith("warning: ")]
        if warned:
            print("\n".join(warned), file=sys.stderr)
        rows = read(Path(folder, name, "metrics.jsonl"))
    return speed(rows, arguments.every)


def speed(rows: list[dict[str, float]], begin: int) -> tuple[float, int]:
    """From the first checkpoint to the last log line. Each line holds the seconds a step since the line before."""
    late = [row for row in rows if "seconds/step" not in row]
    images = seconds = 0.0
    before = None
    for row in rows:
        if "seconds/step" not in row:
            continue
        if before is not None and before["step"] >= begin:
            images += row["images"] - before["images"]
            seconds += (row["step"] - before["step"]) * row["seconds/step"]
        before = row
    last = before["step"] if before is not None else 0
    return images / seconds, sum(row["step"] < last for row in late)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--config", default="configs/digits.yaml")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--every", type=int, default=500, help="steps between checkpoints and evaluations")
    parser.add_argument("--count", type=int, help="samples that are scored; as in the config if not given")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("this machine has no spare core")
    ratios = []
    for number in range(arguments.rounds):
        order = (False, True) if number % 2 == 0 else (True, False)
        found = {beside: measure(arguments, beside) for beside in order}
        (alone, _), (beside, came) = found[False], found[True]
        ratios.append(beside / alone)
        print(f"round {number + 1}: {alone:.1f} images/s alone, {beside:.1f} with {came} evaluations: {ratios[-1]:.3f}")
    ratio = statistics.median(ratios)
    verdict = "met" if ratio >= TARGET else "missed"
    print(f"median {ratio:.3f} of {len(ratios)} rounds ({min(ratios):.3f} to {max(ratios):.3f})")
    print(f"target {TARGET}: {verdict}")


if __name__ == "__main__":
    main()
