"""The watchers that come with gandist: each is a component like a plugin's, found through the same entry points."""

from gandist.contract.components import Watcher
from gandist.contract.hookspecs import hookimpl
from gandist.tracking.console import Console
from gandist.tracking.grids import Grids
from gandist.tracking.health import Health
from gandist.tracking.metrics_file import MetricsFile
from gandist.tracking.wandb import Wandb


@hookimpl
def gandist_watchers() -> list[type[Watcher]]:
    """All of this package."""
    return [Console, MetricsFile, Grids, Health, Wandb]
