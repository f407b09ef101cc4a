"""What samples without labels are worth: a semi-supervised config, beside its classifier on the labels alone.

The other run is the same in all but the loss: architecture, augmentation, optimizer, smoothing, steps and batches are
those of the config, its labelled samples too. So the difference is what the generator and the unlabelled samples do.

    python benchmarks/semi_supervised.py configs/semi-supervised/digits.yaml --seeds 0 1 2
    python benchmarks/semi_supervised.py configs/semi-supervised/fashion-mnist.yaml dataset.root=FOLDER
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any, ClassVar

import torch
from gandist_losses.semi_supervised import SemiSupervised
from torch import Tensor
from torch.nn.functional import cross_entropy

from gandist import Turn
from gandist.config.compose import compose
from gandist.config.resolve import resolve
from gandist.config.schema import Config
from gandist.evaluation.evaluator import Evaluator
from gandist.training.loop import train
from gandist.training.surroundings import Surroundings

KINDS = ("supervised", "semi-supervised")


class Supervised(SemiSupervised):
    """The cross entropy of the labelled samples alone."""

    name: ClassVar[str] = "supervised"

    @property
    def turns(self) -> tuple[str, ...]:  # type: ignore[override]
        """The discriminator's."""
        return ("discriminator",) * self.d_steps

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """-E log p(y | x)."""
        classes = turn.judge(turn["labelled"]).classes
        assert classes is not None
        return {"total": turn.everyone(cross_entropy(classes, turn["labelled_classes"], reduction="none")).mean()}


def config_of(path: str, overrides: list[str], kind: str, seed: int) -> Config:
    """The config with this seed, of the run and of the choice of labels."""
    given = [*overrides, f"run.seed={seed}", f"dataset.labelled_seed={seed}", "cluster.workers=0"]
    config = resolve(compose(path, given))
    if kind == "semi-supervised":
        return config
    return config.model_copy(update={"loss": Supervised(d_steps=getattr(config.loss, "d_steps", 1))})


def run(config: Config) -> dict[str, Any]:
    """Test error after the last step, the lowest of all evaluations, and CPU-minutes of training and evaluation."""
    device, errors = torch.device("cpu"), []
    source = config.dataset.open()
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        evaluator = Evaluator(config, source, device)

        def announce(hook: str, **facts: Any) -> None:
            if hook == "gandist_on_evaluation":
                errors.append(facts["metrics"]["test_error"])
                print(f"  step {facts['step']}/{config.steps}  test error {errors[-1]:.4f}", flush=True)

        around = Surroundings(Path(folder), device=device, evaluator=evaluator, watch=lambda _: announce)
        train(config, source, around)
    return {"error": errors[-1], "lowest": min(errors), "minutes": (time.process_time() - begin) / 60}


def table(results: dict[str, list[dict[str, Any]]], seeds: list[int]) -> str:
    """In Markdown: a line a kind, the means over the seeds and each seed's error."""
    lines = ["| | test error | of seeds | lowest on the way | CPU-minutes a run |", "| --- | --- | --- | --- | --- |"]
    means = {}
    for kind, runs in results.items():
        means[kind] = mean(one["error"] for one in runs)
        single = ", ".join(f"{one['error']:.2%}" for one in runs)
        lowest, minutes = mean(one["lowest"] for one in runs), max(one["minutes"] for one in runs)
        lines.append(f"| {kind} | {means[kind]:.2%} | {single} | {lowest:.2%} | {minutes:.1f} |")
    if len(means) == 2:
        ratio = means["semi-supervised"] / means["supervised"]
        lines.append(f"\nseeds {', '.join(map(str, seeds))}: {1 - ratio:.1%} fewer errors ({ratio:.2f} of them)")
    return "\n".join(lines)


def main() -> None:
    """Trains both for each seed; the results go on standard output, and to --out as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    results: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS if arguments.only in (None, kind)}
    for seed in arguments.seeds:
        for kind, runs in results.items():
            print(f"{kind}, seed {seed}", flush=True)
            runs.append(run(config_of(arguments.config, arguments.overrides, kind, seed)))
            if arguments.out:
                arguments.out.write_text(json.dumps({"seeds": arguments.seeds, "results": results}, indent=2))
    print(table(results, arguments.seeds))


if __name__ == "__main__":
    main()
