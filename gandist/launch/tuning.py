"""The trials of a sweep in the hands of Ray Tune: who may run when, and who is halted."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gandist.config.sweep import Sweep
from gandist.config.trials import Trial
from gandist.launch import resources
from gandist.launch.sweep_ledger import Ledger
from gandist.launch.sweep_trial import Orders, play

if TYPE_CHECKING:
    from gandist.launch.halving import Halving


def halving(sweep: Sweep, trials: Sequence[Trial], ledger: Ledger, warn: Callable[[str], None]) -> Halving | None:
    """The scheduler that a sweep asks for, which knows what is known of trials that have ended."""
    from gandist.launch.halving import Halving

    if sweep.scheduler.name == "none":
        return None
    interval = min(trial.config.images_per_step * trial.config.evaluate.every for trial in trials)
    grace, longest = sweep.scheduler.grace or interval, max(trial.images for trial in trials)
    if grace >= longest:
        warn(
            f"scheduler: no trial is stopped early, since grace is {grace:,} images and the longest trial has "
            f"{longest:,}; evaluate more often, or set scheduler: none"
        )
    made = Halving(ledger.metric, ledger.mode, longest, grace, sweep.scheduler.reduction)
    ended = (entry for entry in ledger.entries.values() if entry.ended)
    made.remember(
        ledger.metric, [(images, entry.trial, value) for entry in ended for _, images, value in entry.history]
    )
    return made


def tune_trials(
    orders: Orders, board: Any, scheduler: Halving | None, numbers: Sequence[int], room: int, folder: str
) -> None:
    """Runs the trials of these numbers, at most `room` at the same time, and returns when all have ended.

    folder: for Ray Tune's own files, seen by this node. A trial whose process is lost is started again.
    """
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    from ray import tune

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)

    def name(trial: Any) -> str:
        return orders.trials[trial.config["trial"]].name

    tune.Tuner(
        tune.with_resources(
            tune.with_parameters(play, orders=orders, board=board), lambda config: _resources(orders, config)
        ),
        param_space={"trial": tune.grid_search(list(numbers))},
        tune_config=tune.TuneConfig(
            scheduler=scheduler, max_concurrent_trials=room, trial_name_creator=name, trial_dirname_creator=name
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=folder,
            failure_config=tune.FailureConfig(
                max_failures=max(trial.config.cluster.max_failures for trial in orders.trials)
            ),
            verbose=0,
        ),
    ).fit()


def _resources(orders: Orders, config: dict[str, Any]) -> Any:
    """What a trial's own process takes: what it trains on, or next to nothing beside its workers.

    Were it as much as a CPU, trials would hold all CPUs and wait for their workers' without end. It stays on this node.
    """
    import ray
    from ray.tune import PlacementGroupFactory

    run = orders.trials[config["trial"]].config
    if run.cluster.most_workers == 0:
        return PlacementGroupFactory([{"CPU": 1, **({"GPU": 1} if resources.wants_gpu(run, orders.place) else {})}])
    here = ray.get_runtime_context().get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == here)
    mark = next(name for name in node["Resources"] if name.startswith("node:") and "internal" not in name)
    return PlacementGroupFactory([{mark: 0.0001}])
