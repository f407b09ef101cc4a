"""Whether synthetic images help a classifier of few real ones: the table of docs/augmentation.md, as Markdown.

gandist train configs/conditional-digits.yaml dataset.split=train
python benchmarks/augmentation.py runs/conditional-digits

A row for each number of real images a class and each filter, as `gandist augment RUN --measure` finds it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

import gandist
from gandist.using.augmenting.made import Maker
from gandist.using.augmenting.measure import PER_CLASS, SEEDS, measure
from gandist.using.trained import Trained

FILTERS: dict[str, dict[str, float]] = {"none": {}, "agree 0.9": {"agree": 0.9}, "keep 0.5": {"keep": 0.5}}
COLUMNS = (
    "real a class",
    "filter",
    "real alone",
    "with augmentation",
    "and synthetic",
    "gain",
    "verdict",
    "CPU seconds",
)


def maker(trained: Trained, filters: dict[str, float]) -> Maker:
    judge = None
    if "agree" in filters:
        judge = gandist.fitted_classifier(trained.config.dataset.open(), trained.device)
    return Maker(trained, filters.get("keep"), filters.get("agree"), judge)


def percent(one: Mapping[str, float], sign: str = "") -> str:
    return f"{100 * one['mean']:{sign}.1f} ({100 * one['low']:{sign}.1f} to {100 * one['high']:{sign}.1f})"


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("run")
    given.add_argument("--real", default="5,10,20", help="images a class")
    given.add_argument("--filters", default="none,agree 0.9,keep 0.5")
    given.add_argument("--per-class", type=int, default=PER_CLASS)
    given.add_argument("--seeds", type=int, default=SEEDS)
    args = given.parse_args()
    trained = gandist.load(args.run)
    print(f"| {' | '.join(COLUMNS)} |\n{'| --- ' * len(COLUMNS)}|")
    for real in map(int, args.real.split(",")):
        for name in args.filters.split(","):
            begun = time.process_time()
            found = measure(maker(trained, FILTERS[name]), real, args.per_class, args.seeds)
            figures = [percent(found["accuracy"][one]) for one in ("real", "standard", "synthetic")]
            seconds = time.process_time() - begun
            cells: list[Any] = [real, name, *figures, percent(found["gain"], "+"), found["verdict"], f"{seconds:.0f}"]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
