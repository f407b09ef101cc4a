"""Whether synthetic digits help a classifier: the tables of docs/augmentation.md, as Markdown.

gandist train configs/conditional-digits.yaml dataset.split=train
python benchmarks/augmentation.py measure runs/conditional-digits

The generator there was trained on 1,437 images, the classifier on a few of them. The same where the generator has seen
no more than the classifier:

python benchmarks/augmentation.py images 10 few-digits
gandist train configs/conditional-digits.yaml run.name=few-digits \\
    'dataset={name: image-folder, root: few-digits, size: 32, channels: 1}'
python benchmarks/augmentation.py same runs/few-digits
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from gandist_datasets.digits import Digits

import gandist
from gandist.contract.components import Source
from gandist.using.augmenting.compare import REAL, STANDARD, SYNTHETIC, Comparison, compare, few
from gandist.using.augmenting.interval import Interval
from gandist.using.augmenting.learning import Labelled
from gandist.using.augmenting.made import Maker
from gandist.using.pictures import as_image

SEEDS, PER_CLASS, SIZE = 5, 100, 32
FILTERS: dict[str, dict[str, float]] = {"none": {}, "agree 0.9": {"agree": 0.9}, "keep 0.5": {"keep": 0.5}}
HEADER = "| real a class | filter | real | with augmentation | and synthetic | gain | | CPU s |\n" + "| --- " * 8 + "|"


def everything(source: Source) -> Labelled:
    read = source.read(range(len(source)))
    return Labelled(read["real"], read["labels"])


def maker(run: str, filters: dict[str, float]) -> Maker:
    trained = gandist.load(run)
    source = trained.config.dataset.open()
    judge = gandist.fitted_classifier(source, trained.device) if "agree" in filters else None
    return Maker(trained, **filters, judge=judge)  # type: ignore[arg-type]


def compared(made: Maker, pool: Labelled, test: Labelled, each: int) -> Comparison:
    def synthetic(seed: int) -> Labelled:
        images = [made.images(label, PER_CLASS, seed) for label in range(10)]
        return Labelled(torch.cat(images), torch.arange(10).repeat_interleave(PER_CLASS))

    return compare(pool, test, synthetic, classes=10, each=each, seeds=SEEDS)


def percent(one: Interval, sign: str = "") -> str:
    return f"{100 * one.mean:{sign}.1f} ({100 * one.low:{sign}.1f} to {100 * one.high:{sign}.1f})"


def row(each: int, name: str, found: Comparison, seconds: float) -> str:
    figures = [percent(found.of(one)) for one in (REAL, STANDARD, SYNTHETIC)]
    cells: list[Any] = [each, name, *figures, percent(found.gain, "+"), found.verdict, f"{seconds:.0f}"]
    return "| " + " | ".join(map(str, cells)) + " |"


def measure(run: str, counts: str = "5,10,20") -> None:
    """Real images are drawn anew for each seed from the training part; tested on the 360 of the test part."""
    pool, test = (everything(Digits(size=SIZE, split=split).open()) for split in ("train", "test"))
    print(HEADER)
    for each in map(int, counts.split(",")):
        for name, filters in FILTERS.items():
            begun = time.process_time()
            found = compared(maker(run, filters), pool, test, each)
            print(row(each, name, found, time.process_time() - begun), flush=True)


def images(each: str, out: str) -> None:
    """Writes a folder of real digits, drawn as seed 0 of `measure` does."""
    pool = everything(Digits(size=SIZE, split="train").open())
    chosen = few(pool, 10, int(each), 0)
    for number, (image, label) in enumerate(zip(chosen.images, chosen.labels.tolist(), strict=True)):
        folder = Path(out) / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        as_image(image).save(folder / f"{number:03d}.png")


def same(run: str) -> None:
    """All images that the generator was trained on are those of the classifier; only chance differs between seeds."""
    pool = everything(gandist.load(run).config.dataset.open())
    test = everything(Digits(size=SIZE, split="test").open())
    print(HEADER)
    for name, filters in FILTERS.items():
        begun = time.process_time()
        found = compared(maker(run, filters), pool, test, len(pool) // 10)
        print(row(len(pool) // 10, name, found, time.process_time() - begun), flush=True)


if __name__ == "__main__":
    part, *given = sys.argv[1:]
    {"measure": measure, "images": images, "same": same}[part](*given)
