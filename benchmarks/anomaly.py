"""Anomalies in tables, and one class of Fashion-MNIST among ten: gandist's shipped configs beside what people use.

`python benchmarks/anomaly.py tables --data FOLDER` reads five tables of ADBench (`31_satimage-2.npz`, …) from FOLDER.
Half of the normal rows are trained on, the other rows scored; the same rows, standardised the same way, for all.
--methods says which: gandist's usual config and its ALAD; the isolation forests and nearest neighbours of scikit-learn,
if it is installed; PyOD's GANs with their defaults, if they are asked for and installed (`pip install pyod`).
`python benchmarks/anomaly.py images --data FOLDER` reads Fashion-MNIST's four files from FOLDER. Each class in turn is
the only normal one: its 6,000 training images are trained on, and all 10,000 test images scored. `--runs FOLDER` keeps
the runs, and goes on with those that are there; anomaly_patches.py asks them where an anomaly is.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gandist_datasets.one_class import OneClass
from gandist_datasets.table import Table
from torch import Tensor

import gandist
from gandist import Dataset, as_played

CONFIGS = Path(__file__).parents[1] / "configs" / "anomaly"
TABLES = {
    "satimage-2": "31_satimage-2.npz",
    "smtp": "34_smtp.npz",
    "thyroid": "38_thyroid.npz",
    "WDBC": "43_WDBC.npz",
    "cardio": "6_cardio.npz",
}
Scores = tuple[float, float, float]
"""AUROC, average precision, CPU-seconds."""


def ours(config: str, overrides: list[str], folder: str) -> Scores:
    """What result.json says of a run of a shipped config, NaN where it scores no anomalies. It lies in `folder`."""
    begin = time.process_time()
    given = [*overrides, f"cluster.storage={folder}", "cluster.workers=0", "train.log_every=100000"]
    result = gandist.train(CONFIGS / config, [*given, "tracking.console.enabled=false"]).result
    area, precision = (result["metrics"].get(name, math.nan) for name in ("auroc", "average_precision"))
    return area, precision, time.process_time() - begin


def beside(fit: Callable[[Any, Any, int], Any], dataset: Dataset, seed: int) -> Scores:
    """Another method's scores on the same rows."""
    train, test = read(dataset)
    seen, unseen = (as_played(rows["real"]).flatten(1).numpy() for rows in (train, test))
    begin = time.process_time()
    scores = Tensor(fit(seen, unseen, seed))
    taken = time.process_time() - begin
    return gandist.auroc(scores, test["anomalous"]), gandist.average_precision(scores, test["anomalous"]), taken


def read(dataset: Dataset) -> list[dict[str, Tensor]]:
    """All rows that are trained on, and all that are held out."""
    source = dataset.open()
    held = source.held_out()
    assert held is not None
    return [part.read(range(len(part))) for part in (source, held)]


def isolation_forest(train: Any, test: Any, seed: int) -> Any:
    forest = importlib.import_module("sklearn.ensemble").IsolationForest(random_state=seed)
    return -forest.fit(train).score_samples(test)


def nearest_neighbours(train: Any, test: Any, seed: int) -> Any:
    neighbours = importlib.import_module("sklearn.neighbors").NearestNeighbors(n_neighbors=5)
    return neighbours.fit(train).kneighbors(test)[0][:, -1]


def pyod(module: str, name: str) -> Callable[[Any, Any, int], Any]:
    def fit(train: Any, test: Any, seed: int) -> Any:
        # It draws from the global states of both, and prints every epoch.
        torch.manual_seed(seed)
        np.random.seed(seed)
        with contextlib.redirect_stdout(io.StringIO()):
            detector = getattr(importlib.import_module(f"pyod.models.{module}"), name)()
            return detector.fit(train).decision_function(test)

    return fit


OURS = {"gandist": "table.yaml", "gandist-alad": "table-alad.yaml"}
OTHERS = {
    "isolation-forest": ("sklearn", isolation_forest),
    "nearest-neighbours": ("sklearn", nearest_neighbours),
    "pyod-alad": ("pyod", pyod("alad", "ALAD")),
    "pyod-so-gaal": ("pyod", pyod("so_gaal", "SO_GAAL")),
}
"""The package that each is of, and how it scores."""


def tables(data: Path, seeds: list[int], names: list[str], methods: list[str]) -> None:
    for name in names:
        for seed in seeds:
            root = data / TABLES[name]
            given = [f"dataset.root={root}", f"dataset.split_seed={seed}", f"run.seed={seed}", "evaluate.every=100000"]
            for method in methods:
                if method in OTHERS:
                    tell(name, seed, method, beside(OTHERS[method][1], Table(root=str(root), split_seed=seed), seed))
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    tell(name, seed, method, ours(OURS[method], [*given, "run.name=table"], folder))


def images(data: Path, seeds: list[int], classes: list[int], runs: Path | None) -> None:
    for normal in classes:
        for seed in seeds:
            with tempfile.TemporaryDirectory() as folder:
                tell(str(normal), seed, "gandist", both_stages(data, normal, seed, str(runs or folder)))
        if importlib.util.find_spec("sklearn") is not None:
            tell(str(normal), 0, "nearest neighbours", beside(nearest_neighbours, one_class(data, normal), 0))


def both_stages(data: Path, normal: int, seed: int, folder: str) -> Scores:
    """f-AnoGAN's stages in folder/gan-NORMAL-SEED and folder/encoder-NORMAL-SEED."""
    given = [f"dataset.normal={normal}", f"run.seed={seed}", f"dataset.of.root={data}", f"dataset.test.root={data}"]
    gan = f"gan-{normal}-{seed}"
    taken = ours("fashion-mnist-gan.yaml", [*given, f"run.name={gan}"], folder)[2]
    start = [f"start.from={folder}/{gan}", f"run.name=encoder-{normal}-{seed}"]
    area, precision, seconds = ours("fashion-mnist.yaml", [*given, *start], folder)
    return area, precision, taken + seconds


def one_class(data: Path, normal: int) -> OneClass:
    of = {"name": "fashion-mnist", "size": 32, "root": str(data)}
    return OneClass.model_validate({"of": of, "test": {**of, "split": "test"}, "normal": normal})


def tell(what: str, seed: int, method: str, scores: Scores) -> None:
    area, precision, seconds = scores
    line = {"data": what, "seed": seed, "method": method, "auroc": round(area, 4), "ap": round(precision, 4)}
    print(json.dumps({**line, "cpu_seconds": round(seconds, 1)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tables", "images"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--classes", type=int, nargs="+", default=list(range(10)))
    there = importlib.util.find_spec("sklearn") is not None
    usual = ["gandist", *(name for name, (package, _) in OTHERS.items() if package == "sklearn" and there)]
    parser.add_argument("--methods", nargs="+", default=usual, choices=[*OURS, *OTHERS])
    parser.add_argument("--runs", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "tables":
        tables(args.data, args.seeds, args.tables, args.methods)
    else:
        images(args.data, args.seeds, args.classes, args.runs)


if __name__ == "__main__":
    main()
