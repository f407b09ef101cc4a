"""What this plugin provides: each hook returns classes."""

from gandist import Architecture, Dataset, Loss, hookimpl
from gandist_example.architecture import DensePlayers
from gandist_example.dataset import Checkerboard
from gandist_example.loss import LeastSquares


@hookimpl
def gandist_losses() -> list[type[Loss]]:
    """Losses, by their `name` in YAML."""
    return [LeastSquares]


@hookimpl
def gandist_architectures() -> list[type[Architecture]]:
    """Architectures, by their `name` in YAML."""
    return [DensePlayers]


@hookimpl
def gandist_datasets() -> list[type[Dataset]]:
    """Data sets, by their `name` in YAML."""
    return [Checkerboard]
