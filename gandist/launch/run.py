"""One run from the command to its result: checked, owned, started on Ray, watched, written down."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gandist.config.check import check
from gandist.config.compose import Composed, compose
from gandist.config.resolve import resolve
from gandist.config.schema import Config
from gandist.config.yaml import write_yaml
from gandist.errors import ConfigError, RunError
from gandist.evaluation.metrics import validate as metric_problems
from gandist.launch import folder as folders
from gandist.launch import home as homes
from gandist.launch import ray_cluster, resources
from gandist.launch.board import Board, remote_board
from gandist.launch.desk import Desk, Follower
from gandist.launch.resources import Place
from gandist.launch.versions import versions
from gandist.launch.worker import work, work_here
from gandist.training.profile import ProfiledSteps
from gandist.training.run import RunView

DONE, STOPPED = 0, 3
"""Exit codes of runs that did not fail."""
POLL = 0.2
"""Seconds between two looks at the board."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended. code: exit code of the command. result: what result.json holds, {} unless it is finished.

    folder: of the run, as a text if it is a URL.
    """

    code: int
    result: dict[str, Any]
    folder: Path | str
    message: str = ""


@dataclass(frozen=True)
class Within:
    """A running Ray that this process is part of. joined: whether it may have nodes beside this machine."""

    place: Place
    joined: bool
    follower: Follower


def train(
    config: str | Path | Mapping[str, Any],
    overrides: Sequence[str] | Mapping[str, Any] = (),
    *,
    address: str | None = None,
    fresh: bool = False,
) -> Outcome:
    """Trains a config, a YAML file or a mapping, with overrides as `gandist train` takes them.

    Raises ConfigError for a mistake in the config and RunError if the run fails.
    """
    return run(compose(config, overrides), address=address, fresh=fresh)


def run(
    composed: Composed,
    *,
    address: str | None = None,
    fresh: bool = False,
    profile: ProfiledSteps | None = None,
    within: Within | None = None,
) -> Outcome:
    """Checks everything, then trains, or goes on with, the run that the config names.

    profile: the steps to make a trace of. within: where this process is already part of a Ray that trains.
    """
    begun = time.time()
    config = resolve(composed)
    opened = check(config, composed, metric_problems)
    _require_steps(profile, config)
    warnings = list(opened.warnings)
    if address is None and within is None:
        warnings += resources.require(config, resources.this_machine(), oversubscribe=True)
    plain = config.model_dump(mode="json")
    with homes.owned(config, plain, fresh) as home:
        warnings += home.warnings
        old = folders.result(home.folder)
        if old is not None and old["steps"] >= config.steps:
            text = f"{home.shown} is finished: {old['steps']} steps; --fresh starts it anew"
            return Outcome(DONE, old, home.place, text)
        payload = {
            "config": plain,
            "config_text": write_yaml(plain),
            "folder": str(home.folder),
            "url": home.url,
            "cwd": str(Path.cwd()),
            "run_id": secrets.token_hex(4),
            "until": begun + 3600 * config.train.hours if config.train.hours else None,
            "joined": address is not None if within is None else within.joined,
            "profile": profile,
            "versions": versions(),
        }
        view = RunView(payload["run_id"], config.run.name, home.folder, config, opened.source.facts, 0, None)
        desk = Desk(config, view, home, within.follower if within else None)
        for warning in warnings:
            desk.warn(warning)
        return _launch(desk, config, payload, address, within)


def _require_steps(profile: ProfiledSteps | None, config: Config) -> None:
    if profile is not None and (profile.first or 0) >= config.steps:
        raise ConfigError(
            f"--profile: step {profile.first} does not come, the run has {config.steps} steps, 0 to {config.steps - 1}"
        )


def _launch(desk: Desk, config: Config, payload: dict[str, Any], address: str | None, within: Within | None) -> Outcome:
    try:
        finished = _trained(desk, config, payload, address, within)
    except BaseException as error:
        desk.end(error)
        raise
    return _ended(desk, finished, config)


def _trained(
    desk: Desk, config: Config, payload: dict[str, Any], address: str | None, within: Within | None
) -> dict[str, Any]:
    """Starts or joins Ray, trains there, and returns what rank 0 returned."""
    with ExitStack() as stack:
        local = config.cluster.most_workers == 0
        place = resources.this_machine() if address is None else None
        if within is not None:
            place = within.place
        elif not local:
            desk.phase("starting Ray" if address is None else f"joining {address}")
            if address is not None:
                place = stack.enter_context(ray_cluster.joined_ray(address))
                resources.require(config, place, oversubscribe=False)
            else:
                assert place is not None
                gpus = config.cluster.most_workers if resources.wants_gpu(config, place) else 0
                stack.enter_context(ray_cluster.local_ray(config.cluster.most_workers, gpus))
        assert place is not None
        folders.write_config(desk.home.folder, payload["config_text"])
        desk.home.keep(folders.CONFIG)
        board = Board() if local else remote_board()
        desk.sit(board)
        # Ray Train insists on a folder of its own; nothing of a run lies in it.
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="gandist-"))
        gpu = resources.wants_gpu(config, place)
        if local:
            return _watched(desk, lambda: work_here({**payload, "board": board}, gpu))
        return _watched(
            desk, lambda: ray_cluster.fit(work, payload, board, config, gpu, scratch, local=not payload["joined"])
        )


def _watched(desk: Desk, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Runs `call` in a thread, so that the main thread is free for signals and the console."""
    box: dict[str, Any] = {}

    def target() -> None:
        try:
            box["value"] = call()
        except BaseException as error:
            box["error"] = error

    thread = threading.Thread(target=target, name="fit", daemon=True)
    with desk.signals.caught():
        thread.start()
        while thread.is_alive() and not _failed_for_good(desk):
            desk.look()
            desk.home.require()
            thread.join(POLL)
        desk.look()
    if desk.causes and "value" not in box:
        # Ray may be starting the group once more; leaving it ends that.
        cause = desk.causes[-1]
        name = desk.view.name
        raise RunError(f"run {name} failed at step {cause.step} on rank {cause.rank}: {cause.text}")
    if "error" in box:
        raise box["error"]
    return box["value"]


def _failed_for_good(desk: Desk) -> bool:
    return any(cause.final for cause in desk.causes)


def _ended(desk: Desk, finished: dict[str, Any], config: Config) -> Outcome:
    home = desk.home
    desk.end(None)
    if finished["stopped"]:
        text = f"stopped at step {finished['step']} of {config.steps} with a checkpoint; the same command goes on"
        return Outcome(STOPPED, {}, home.place, text)
    result = folders.write_result(home.folder, finished)
    home.keep(folders.RESULT)
    return Outcome(DONE, result, home.place)
