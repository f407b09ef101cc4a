"""Starts a local Ray or joins one, and runs a worker function on it through Ray Train."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

from gandist.config.schema import Config
from gandist.errors import ConfigError, RunError
from gandist.launch.board import Board, RemoteBoard
from gandist.launch.placement import Seats

_QUIET = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # How soon a dead worker is noticed; the default of 2 s is most of what a restart waits for.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # Any explicit value silences a notice at each start.
    "RAY_AUTH_MODE": "token",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_ALONE = {
    # Without the first a local Ray listens on all interfaces; without the second it reports to its makers.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Nobody collects them: a local Ray has no dashboard.
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # Nobody takes this machine away with notice.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # Of the last 100,000 calls Ray's head would keep three kilobytes each, for a dashboard that is not there.
    "RAY_task_events_max_num_task_in_gcs": "1000",
}
# The Train page of the cluster's dashboard shows what is told to its state actor.
_JOINED = {"RAY_TRAIN_ENABLE_STATE_TRACKING": "1"}
# How long a group that may be smaller waits for the nodes that Ray believes in: after a crash it takes Ray a while to
# see that one is gone, and the default of 60 s is most of what a restart on the others would wait for.
_ELASTIC = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "10"}

_SERVER = "RAY_API_SERVER_ADDRESS"

ANSWER = 5.0
"""Seconds within which a cluster's head must accept a connection."""


def _environment(variables: dict[str, str]) -> None:
    for name, value in variables.items():
        os.environ.setdefault(name, value)


@contextmanager
def local_ray(workers: int, gpus: int) -> Iterator[None]:
    """A Ray of our own on this machine, on loopback only, with one logical CPU per worker; stopped at the end."""
    _environment(_QUIET | _ALONE)
    import ray

    with _result_alone(), _no_server():
        ray.init(
            # Not one that somebody has started on this machine, nor the one that RAY_ADDRESS names.
            address="local",
            num_cpus=max(1, workers),
            num_gpus=gpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
            object_store_memory=100 * 2**20,
        )
        try:
            yield
        finally:
            ray.shutdown()


def _result_alone() -> redirect_stdout[TextIO]:
    """Keeps stdout for the result of the command: until it is shut down Ray prints what a raylet tells it."""
    return redirect_stdout(sys.stderr)


@contextmanager
def _no_server() -> Iterator[None]:
    """Tells Ray Train, which asks the cluster's server each second whether its controller lives, that there is none.

    Without this the end of a run waits for one in vain, for many seconds; or the one is asked that the user's own
    variables name, which knows nothing of this run, and the workers' places are taken away.
    """
    before = os.environ.get(_SERVER)
    os.environ[_SERVER] = "none://a-local-ray-has-no-server"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SERVER]
        else:
            os.environ[_SERVER] = before


def _require_answer(address: str) -> None:
    """Raises ConfigError unless somebody listens at HOST:PORT. Ray itself would try again for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if address in ("auto", "local"):
        return
    if not colon or not port.isdigit():
        raise ConfigError(f"--address {address}: should be auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"--address {address}: nothing answers there ({error}); is the cluster's head up (ray status), and may "
            f"this machine reach it?"
        ) from error


@contextmanager
def joined_ray(address: str) -> Iterator[None]:
    """Joins the cluster at `address` ("auto", "HOST:PORT" or "ray://…")."""
    _environment({name: value for name, value in (_QUIET | _JOINED).items() if name != "RAY_AUTH_MODE"})
    _require_answer(address)
    import ray

    with _result_alone():
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(
                f"--address {address}: no Ray cluster answers there ({first}); is its head up (ray status)?"
            ) from error
        try:
            yield
        finally:
            ray.shutdown()


def fit(
    work: Callable[[dict[str, Any]], dict[str, Any]],
    payload: dict[str, Any],
    board: Board | RemoteBoard,
    config: Config,
    seats: Seats,
    storage: str,
    local: bool,
) -> dict[str, Any]:
    """Runs `work(payload)` in the workers and returns what rank 0's returned. Raises RunError if workers kept dying.

    seats: where the workers go. storage: a folder for Ray Train's own files. local: all workers are on this machine.
    """
    _environment(_QUIET)
    import ray.train

    # Local mode says at INFO that it is local mode.
    logging.getLogger("ray").setLevel(logging.ERROR)
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from gandist.launch.meeting import JoinedTorchConfig, LocalTorchConfig

    cluster = config.cluster
    scaling: dict[str, Any] = {"num_workers": cluster.fewest_workers}
    if cluster.most_workers != cluster.fewest_workers:
        _environment(_ELASTIC)
        scaling["num_workers"] = (cluster.fewest_workers, cluster.most_workers)
        scaling["elastic_resize_monitor_interval_s"] = cluster.resize_every
    group: dict[str, Any] = {"backend": "nccl" if seats.gpu else "gloo", "timeout_s": cluster.timeout}
    meeting = (
        LocalTorchConfig(**group, folder=storage) if local else JoinedTorchConfig(**group, network=seats.interface)
    )
    scaling |= {"use_gpu": seats.gpu, "resources_per_worker": seats.bundle}
    trainer = TorchTrainer(
        work,
        train_loop_config={**payload, "board": board},
        torch_config=meeting,
        scaling_config=ScalingConfig(**scaling, placement_strategy=seats.strategy, accelerator_type=seats.accelerator),
        run_config=_run_config(RunConfig, FailureConfig, cluster.max_failures, config.run.name, storage),
    )
    try:
        return trainer.fit().return_value or {}
    except ray.train.TrainingFailedError as error:
        causes = {str(failure).strip().splitlines()[-1] for failure in getattr(error, "worker_failures", {}).values()}
        raise RunError(
            f"given up after {cluster.max_failures} restarts (cluster.max_failures): "
            f"{'; '.join(sorted(causes)) or str(error).splitlines()[0]}; "
            f"the same command goes on from the last checkpoint"
        ) from error


def _run_config(run_config: Any, failure_config: Any, failures: int, name: str, storage: str) -> Any:
    try:
        from ray.train import LoggingConfig

        quiet = {"logging_config": LoggingConfig(log_level="ERROR")}
    except ImportError:
        quiet = {}
    return run_config(name=name, storage_path=storage, failure_config=failure_config(max_failures=failures), **quiet)
