"""Two workers against the same two processes that exchange nothing: what the exchange of gradients costs.

Both are gandist's own loop in two processes of one thread. Together they are the two ranks of one run, joined by gloo;
alone each trains a run of its own on half of the batch. Rounds are interleaved, and the first steps are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from gandist.config.compose import compose
from gandist.config.resolve import resolve
from gandist.config.schema import Config
from gandist.training.loop import train
from gandist.training.surroundings import Surroundings

WORLD = 2
LEFT_OUT = 16
"""First steps that are not timed; a multiple of the usual intervals of lazy regularisers."""
TARGET = 0.85


@dataclass(frozen=True)
class Speed:
    """Images per second of wall and of CPU time."""

    wall: float
    cpu: float


def read(path: str, steps: int) -> Config:
    """The config, for so many steps, without what only one rank does: pictures, checkpoints, scores."""
    quiet = ["evaluate.every=0", "train.sample_every=0", "train.save_every=0"]
    images = steps * resolve(compose(path, quiet)).images_per_step
    config = resolve(compose(path, [*quiet, f"train.images={images}"]))
    if config.train.batch_size % WORLD:
        raise SystemExit(f"{path}: train.batch_size {config.train.batch_size} cannot be halved")
    return config


def _rank(rank: int, config: Config, together: bool, folder: str) -> None:
    """Trains as one rank, or alone on half of the batch, and writes its images per second into the folder."""
    torch.set_num_threads(1)
    stamps: dict[int, tuple[float, float]] = {}

    def post(phase: str, step: int, images: int) -> None:
        if phase == "training" and step in (LEFT_OUT, config.steps):
            stamps[step] = time.perf_counter(), time.process_time()

    around = Surroundings(folder=Path(folder) / f"run-{rank}", post=post)
    if together:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
        around.folder, around.rank, around.world = Path(folder) / "run", rank, WORLD
    around.folder.mkdir(exist_ok=True)
    train(config, config.dataset.open(), around)
    (wall, cpu), (wall_end, cpu_end) = stamps[LEFT_OUT], stamps[config.steps]
    images = (config.steps - LEFT_OUT) * config.images_per_step / (WORLD if together else 1)
    speed = Speed(images / (wall_end - wall), images / (cpu_end - cpu))
    (Path(folder) / f"{rank}.json").write_text(json.dumps(asdict(speed)))
    if together:
        dist.barrier()
        # Without the interpreter's teardown, in which a thread of gloo that still runs aborts the process now and then.
        os._exit(0)


def measure(config: Config, together: bool) -> Speed:
    """Both processes' images per second of wall time, added, and per second of CPU time, averaged."""
    if not together:
        half = {"batch_size": config.train.batch_size // WORLD, "images": config.train.images // WORLD}
        config = config.model_copy(update={"train": config.train.model_copy(update=half)})
    with tempfile.TemporaryDirectory() as folder:
        spawn(_rank, (config, together, folder), nprocs=WORLD)
        speeds = [Speed(**json.loads((Path(folder) / f"{rank}.json").read_text())) for rank in range(WORLD)]
    return Speed(sum(speed.wall for speed in speeds), statistics.mean(speed.cpu for speed in speeds))


def told(values: list[float], digits: int) -> str:
    """Median and range."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> int:
    """Measures and prints. Returns 0 if the median ratio reaches the target, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    standard = Path(__file__).parents[1] / "configs/digits.yaml"
    parser.add_argument("config", metavar="CONFIG", nargs="?", default=str(standard), help="default: configs/digits")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=96, help="timed steps of a round")
    given = parser.parse_args()
    if given.rounds < 1 or given.steps < 1:
        parser.error("--rounds and --steps must be at least 1")
    config = read(given.config, LEFT_OUT + given.steps)
    speeds: dict[bool, list[Speed]] = {True: [], False: []}
    for number in range(given.rounds):
        for together in (True, False) if number % 2 == 0 else (False, True):
            speeds[together].append(measure(config, together))
        last = {together: speeds[together][-1].wall for together in speeds}
        print(f"round {number + 1}: together {last[True]:.0f}, alone {last[False]:.0f} images/s", flush=True)
    print(f"{config.run.name}: batch {config.train.batch_size}, {given.steps} steps, {given.rounds} rounds")
    for name in ("wall", "cpu"):
        one, two = ([getattr(speed, name) for speed in speeds[together]] for together in (True, False))
        ratios = [a / b for a, b in zip(one, two, strict=True)]
        print(f"images per {name} second: together {told(one, 0)}, alone {told(two, 0)}, ratio {told(ratios, 3)}")
    reached = statistics.median(a.wall / b.wall for a, b in zip(speeds[True], speeds[False], strict=True))
    print(f"target: at least {TARGET:.2f} of wall time; {'reached' if reached >= TARGET else 'missed'}")
    return 0 if reached >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
