"""Images per CPU-second of gandist's training loop against loops that people write.

gandist's is the whole loop, with checkpoints, watchers and smoothed generator at their default intervals. The others:
the textbook loop, the same with the fakes of the discriminator's turn taken for the generator's, and Lightning's manual
optimisation if it is installed. One process, one thread, interleaved rounds; the first steps are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import textbook
import torch
from contestant import Contestant, Run, gandist_loop
from textbook import WORKLOADS, Workload

from gandist import Facts, Source
from gandist.config.resolve import resolve
from gandist.launch.watching import Watchers
from gandist.training.run import RunView
from gandist.training.surroundings import Announce

GANDIST, TEXTBOOK = "gandist", "textbook"
WARM_UP = 2.0
"""CPU seconds of each contestant that are left out."""


class RandomImages(Source):
    """The textbook loop's images as a gandist data set."""

    def __init__(self, workload: Workload) -> None:
        self._images = textbook.random_images(workload)
        self.facts = Facts(workload.shape, 0, len(self._images), "random")

    def read(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        return {"real": self._images[torch.as_tensor(indices)]}


def gandist(workload: Workload, folder: Path) -> Run:
    """gandist's own loop, as a worker runs it."""
    adam = {"name": "adam", "lr": 2e-4, "betas": list(workload.betas)}
    config = resolve(
        {
            "run": {"name": "step"},
            "dataset": {"name": "digits"},
            "architecture": workload.architecture,
            "loss": workload.loss,
            "optimizer": {"generator": adam, "discriminator": adam},
            "train": {"batch_size": workload.batch, "images": 10**9},
        }
    )

    def watch(run: RunView) -> Announce:
        return Watchers(config, run, "rank 0", lambda text: print(text, file=sys.stderr)).announce

    return gandist_loop(config, RandomImages(workload), folder=folder, watch=watch)


def by_hand(workload: Workload, reuse: bool) -> Run:
    """The textbook loop."""

    def run(stepped: Callable[[int], None]) -> None:
        for images in textbook.train(workload, reuse):
            stepped(images)

    return run


def contestants(workload: Workload, folder: Path) -> dict[str, Contestant]:
    """All of a workload, by name."""
    runs = {
        GANDIST: gandist(workload, folder),
        TEXTBOOK: by_hand(workload, reuse=False),
        "textbook, fakes reused": by_hand(workload, reuse=True),
    }
    if importlib.util.find_spec("lightning") is not None:
        import lightning_gan

        runs[f"Lightning {lightning_gan.VERSION}"] = lambda stepped: lightning_gan.train(workload, stepped)
    return {name: Contestant(run) for name, run in runs.items()}


def measure(workload: Workload, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Images per CPU-second of each contestant in each round."""
    with tempfile.TemporaryDirectory() as folder:
        racing = contestants(workload, Path(folder))
        for contestant in racing.values():
            contestant.race(WARM_UP)
        rates: dict[str, list[float]] = {name: [] for name in racing}
        names = list(racing)
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                rates[name].append(racing[name].race(seconds))
        return rates


def report(title: str, workload: Workload, rates: dict[str, list[float]]) -> bool:
    """Prints the figures of one workload; whether the ratio to the textbook loop reaches its target."""
    fields: dict[str, Any] = workload.architecture
    width = f" of width {fields['width']}" if "width" in fields else ""
    size = "×".join(map(str, workload.shape[::-1]))
    print(f"{title}: {fields['name']}{width}, {size}, {workload.loss['name']}, batch {workload.batch}")
    ours = rates[GANDIST]
    print(f"  {GANDIST}: {statistics.median(ours):.0f} images per CPU-second")
    reached = True
    for name, theirs in rates.items():
        if name == GANDIST:
            continue
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        median, verdict = statistics.median(ratios), ""
        if name == TEXTBOOK:
            reached = median >= workload.target
            verdict = f"; target at least {workload.target:.2f}: {'reached' if reached else 'missed'}"
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"  {name}: {statistics.median(theirs):.0f}; ratio {median:.3f} ({spread}){verdict}", flush=True)
    return reached


def main() -> int:
    """Measures and prints. Returns 0 if every ratio to the textbook loop reaches its target, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=list(WORKLOADS), help="default: all")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=5.0, help="CPU seconds of each contestant in a round")
    given = parser.parse_args()
    if given.rounds < 1 or given.seconds <= 0:
        parser.error("--rounds must be at least 1, --seconds above 0")
    torch.set_num_threads(1)
    if importlib.util.find_spec("lightning") is None:
        print("Lightning is not installed (pip install lightning==2.6.*): compared with the textbook loop only")
    reached = True
    for title in [given.workload] if given.workload else list(WORKLOADS):
        workload = WORKLOADS[title]
        reached &= report(title, workload, measure(workload, given.rounds, given.seconds))
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
