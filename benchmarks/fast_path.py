"""Images per second of shipped recipes as they are (fp32, eager) against bf16, channels_last and torch.compile.

    python benchmarks/fast_path.py                                    # on a GPU all recipes, without one the small ones
    python benchmarks/fast_path.py --only fashion-mnist --fast train.precision=bf16

gandist's own loop on random images of the recipe's size, one process, interleaved rounds; the first steps, which
compile, are left out. Seconds are those of one thread of the CPU, or on a GPU the clock's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from contestant import Contestant, gandist_loop

from gandist.config.compose import compose
from gandist.config.resolve import resolve
from gandist.testing.tiny import RandomSamples

CONFIGS = Path(__file__).parent.parent / "configs"
FAST = ("train.precision=bf16", "train.channels_last=true", "train.compile=true")
ROWS = 1024
"""Random images, in memory."""
Rates = list[tuple[float, float]]
WARM_UPS = 3
"""Rounds of each contestant that are left out."""


@dataclass(frozen=True)
class Recipe:
    """A config under configs/, the shape of its images, and what is changed: a batch as one GPU of several has it."""

    config: str
    shape: tuple[int, int, int]
    changes: tuple[str, ...] = ()
    classes: int = 0
    small: bool = False


RECIPES = {
    "fashion-mnist": Recipe("fashion-mnist.yaml", (1, 32, 32), small=True),
    "mlp-conv 28": Recipe(
        "fashion-mnist.yaml", (1, 28, 28), ("architecture={name: mlp-conv}", "dataset.size=28"), small=True
    ),
    "dcgan 32": Recipe("cifar10/dcgan.yaml", (3, 32, 32)),
    "wgan-gp 32": Recipe("cifar10/wgan-gp.yaml", (3, 32, 32)),
    "sngan-resnet 32": Recipe("cifar10/sngan.yaml", (3, 32, 32)),
    "biggan 32": Recipe("cifar10/biggan-diffaugment.yaml", (3, 32, 32), classes=10),
    "stylegan2 32": Recipe("cifar10/stylegan2-ada.yaml", (3, 32, 32), classes=10),
    "stylegan2 256": Recipe("folders/stylegan2-256.yaml", (3, 256, 256), ("train.batch_size=16",)),
    "r3gan 32": Recipe("cifar10/r3gan.yaml", (3, 32, 32), ("train.batch_size=64",), classes=10),
    "r3gan 256": Recipe("folders/r3gan-256.yaml", (3, 256, 256), ("train.batch_size=32",)),
}


def contestant(recipe: Recipe, folder: Path, changes: Sequence[str], device: torch.device) -> Contestant:
    """gandist's loop with the recipe, as a worker runs it."""
    config = resolve(compose(CONFIGS / recipe.config, [*recipe.changes, *changes, "train.save_every=1_000_000"]))
    images = RandomSamples(shape=recipe.shape, classes=recipe.classes, size=ROWS).open()
    return Contestant(gandist_loop(config, images, folder=folder, device=device), device)


def measure(recipe: Recipe, fast: Sequence[str], rounds: int, seconds: float, device: torch.device) -> Rates:
    """Images per second, eager and fast, of each round."""
    with tempfile.TemporaryDirectory() as folder:
        enter = partial(contestant, recipe, device=device)
        as_it_is, faster = enter(Path(folder) / "eager", changes=()), enter(Path(folder) / "fast", changes=fast)
        for _ in range(WARM_UPS):
            as_it_is.race(seconds)
            faster.race(seconds)
        return [(as_it_is.race(seconds), faster.race(seconds)) for _ in range(rounds)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="RECIPE", choices=list(RECIPES), help=", ".join(RECIPES))
    parser.add_argument("--fast", nargs="+", metavar="KEY=VALUE", default=FAST, help=f"default: {' '.join(FAST)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each contestant in a round")
    given = parser.parse_args()
    if given.rounds < 1 or given.seconds <= 0:
        parser.error("--rounds must be at least 1, --seconds above 0")
    torch.set_num_threads(1)
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    machine = torch.cuda.get_device_name() if gpu else "CPU, one thread"
    print(f"{machine}; torch {torch.__version__}; {' '.join(given.fast)}")
    for name in given.only or [name for name, recipe in RECIPES.items() if gpu or recipe.small]:
        rates = measure(RECIPES[name], given.fast, given.rounds, given.seconds, device)
        eager, fast = (statistics.median(side) for side in zip(*rates, strict=True))
        ratios = [faster / as_it_is for as_it_is, faster in rates]
        print(
            f"{name}: eager {eager:.0f}, fast {fast:.0f} images per second; "
            f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
