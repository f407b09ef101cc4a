"""What scores cost: all metrics of images on 10,000 samples, the algebra of FID, neighbours of 50,000 samples.

python benchmarks/metrics.py [samples|algebra|neighbours] does one part, or all; each in a process of its own, since it
also tells the peak of memory.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gandist import Compared, Facts, Scored

CPU = torch.device("cpu")
FACTS = Facts((1, 28, 28), 0, 50_000, "benchmark")
CONFIG = {
    "run": {"name": "benchmark"},
    "dataset": {"name": "digits", "size": 28},
    "architecture": {"name": "mlp-conv"},
    "loss": {"name": "non-saturating"},
}


def peak() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB at most"


@contextmanager
def timed(what: str):
    begun, worked = time.perf_counter(), time.process_time()
    yield
    passed, worked = time.perf_counter() - begun, time.process_time() - worked
    print(f"  {what:<24} {passed:7.1f} s   {worked:7.1f} s of the processor   {peak()}", flush=True)


def samples() -> None:
    """10,000 images of 28×28 (digits drawn again and again, disturbed), features of the classifier."""
    import os

    from gandist_architectures.mlp_conv import MlpConv
    from gandist_datasets.digits import Digits

    from gandist import Examination, Exploration
    from gandist.config.schema import Config, Evaluate
    from gandist.contract.discovery import installed
    from gandist.contract.scoring import Metric
    from gandist.evaluation.evaluator import Evaluator
    from gandist.evaluation.preparing import prepared
    from gandist.evaluation.tallies import Tallies

    source = Digits(size=28).open()
    rows = torch.randint(len(source), (10_000,), generator=torch.Generator().manual_seed(0))
    read = source.read(rows.tolist())
    images, labels = read["real"], read["labels"]
    images = (images + torch.randint(-8, 9, images.shape)).clamp(0, 255).to(torch.uint8)
    known = [one for one in installed().components(Metric) if not issubclass(one, Examination | Exploration)]
    names = [one.name for one in known if one.name not in ("fid", "modes", "stacked-modes")]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GANDIST_CACHE"] = folder
        with timed("prepared, once"):
            prepared(Evaluate.model_validate({"metrics": names, "count": 10_000}), source, CPU)
        for chosen in [names, *([name] for name in names)]:
            ready = prepared(Evaluate.model_validate({"metrics": chosen, "count": 10_000}), source, CPU)
            with timed(chosen[0] if len(chosen) == 1 else "all together"):
                tallies = Tallies(ready.measures, ready.networks, ready.real, source.facts, CPU)
                for batch, asked in zip(images.split(64), labels.split(64), strict=True):
                    tallies.add(Scored(batch, labels=asked))
                tallies.scores(shared=False)
        generator = MlpConv.model_validate({}).players(source.facts, 0)["generator"]
        config = CONFIG | {"evaluate": {"metrics": ["path-length"], "count": 10_000}}
        evaluator = Evaluator(Config.model_validate(config), source, CPU)
        with timed("path-length, of mlp-conv"):
            evaluator.measure({"generator": generator}, 0)


def random_covariance(width: int, seed: int) -> tuple[Tensor, Tensor]:
    rows = torch.randn(3 * width, width, generator=torch.Generator().manual_seed(seed))
    rows *= torch.logspace(0, -2, width)
    return rows.mean(0).double(), rows.double().T.cov()


def algebra() -> None:
    """Fréchet distance of two Gaussians in 2,048 dimensions, and scipy's matrix square root beside it."""
    import numpy as np
    import scipy.linalg
    from gandist_metrics.moments import frechet_distance

    one, other = random_covariance(2048, 0), random_covariance(2048, 1)
    with timed("by eigenvalues"):
        ours = frechet_distance(*one, *other)
    with timed("scipy.linalg.sqrtm"):
        root: Any = scipy.linalg.sqrtm(one[1].numpy() @ other[1].numpy())
    apart = float((one[0] - other[0]).square().sum())
    theirs = apart + float(one[1].trace() + other[1].trace() - 2 * np.trace(root.real))
    print(f"  {ours:.9g} and {theirs:.9g}, {abs(ours / theirs - 1):.1e} apart")


def neighbours() -> None:
    """Coverage, density, precision and recall of 50,000 samples beside a reference of 10,000, 2,048 features each."""
    from gandist_metrics.density_coverage import Coverage, Density
    from gandist_metrics.precision_recall import Precision, Recall

    draws = ((50_000, 0), (10_000, 1))
    fake, real = (torch.randn(rows, 2048, generator=torch.Generator().manual_seed(seed)) for rows, seed in draws)
    compared = Compared(Scored(features=fake), Scored(features=real), {}, FACTS, False)
    for metric in (Coverage(), Density(), Precision(), Recall()):
        with timed(metric.name):
            metric.compare(compared)


PARTS = {"samples": samples, "algebra": algebra, "neighbours": neighbours}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        PARTS[sys.argv[1]]()
    else:
        for name, part in PARTS.items():
            print(f"{name}: {part.__doc__}", flush=True)
            subprocess.run([sys.executable, Path(__file__).resolve(), name], check=True)
