"""One run from the command to its result: checked, owned, started on Ray, watched, written down."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gandist.config.check import check
from gandist.config.compose import Composed, compose
from gandist.config.resolve import resolve
from gandist.config.schema import Config
from gandist.config.yaml import write_yaml
from gandist.errors import ConfigError, RunError
from gandist.evaluation.metrics import validate as metric_problems
from gandist.launch import arrival, ray_cluster, resources
from gandist.launch import folder as folders
from gandist.launch import home as homes
from gandist.launch.board import Board, remote_board
from gandist.launch.desk import Desk, Follower
from gandist.launch.evaluating import place_beside
from gandist.launch.meanwhile import import_meanwhile
from gandist.launch.placement import Seats, local_seats, take_seats
from gandist.launch.resources import Place
from gandist.launch.versions import versions
from gandist.launch.worker import work, work_here
from gandist.training.best import BestSoFar
from gandist.training.checkpoint import checkpoints
from gandist.training.mirror import CHECKPOINTS
from gandist.training.profile import ProfiledSteps
from gandist.training.run import RunView
from gandist.training.start import require as require_start

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
    """A running Ray that this process is part of. address: of the cluster that was joined, None on this machine."""

    place: Place
    address: str | None
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
    if address is not None:
        arrival.require_here()
    config = resolve(composed)
    opened = check(config, composed, metric_problems)
    _require_steps(profile, config)
    warnings = list(opened.warnings)
    if address is None and within is None:
        warnings += resources.require(config, resources.this_machine())
    plain = config.model_dump(mode="json")
    with homes.owned(config, plain, fresh) as home:
        warnings += home.warnings
        old = folders.result(home.folder)
        if old is not None and (old["steps"] >= config.steps or _waited_enough(old, config)):
            text = f"{home.shown} is finished: {old['steps']} steps; --fresh starts it anew"
            return Outcome(DONE, old, home.place, text)
        if config.start is not None and not checkpoints(home.folder / CHECKPOINTS) and home.mirror is None:
            # Before anything is started; a run that goes on has taken it already.
            require_start(config, opened.players)
        payload = {
            "config": plain,
            "config_text": write_yaml(plain),
            "folder": str(home.folder),
            "url": home.url,
            "cwd": str(Path.cwd()),
            "run_id": secrets.token_hex(4),
            "until": begun + 3600 * config.train.hours if config.train.hours else None,
            "joined": (within.address if within else address) is not None,
            "profile": profile,
            "versions": versions(),
        }
        view = RunView(payload["run_id"], config.run.name, home.folder, config, opened.source.facts, 0, None)
        desk = Desk(config, view, home, within.follower if within else None)
        for warning in warnings:
            desk.warn(warning)
        return _launch(desk, config, payload, address, within)


def _waited_enough(result: dict[str, Any], config: Config) -> bool:
    return "best" in result and BestSoFar(**result["best"]).exhausted(config.evaluate.best)


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
        seats = _seated(desk, config, stack, address, within)
        config, payload = _with_threads(config, {**payload, "beside": seats.beside}, seats.threads)
        folders.write_config(desk.home.folder, payload["config_text"])
        desk.home.keep(folders.CONFIG)
        board = Board() if config.cluster.most_workers == 0 else remote_board()
        desk.sit(board)
        # Ray Train insists on a folder of its own; nothing of a run lies in it.
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="gandist-"))
        if config.cluster.most_workers == 0:
            return _watched(desk, lambda: work_here({**payload, "board": board}, seats.gpu))
        return _watched(
            desk, lambda: ray_cluster.fit(work, payload, board, config, seats, scratch, local=not payload["joined"])
        )


def _seated(desk: Desk, config: Config, stack: ExitStack, address: str | None, within: Within | None) -> Seats:
    """Starts or joins Ray, as long as the stack is open, and says where the workers go."""
    before = folders.threads(desk.home.folder)
    if within is not None:
        if within.address is not None:
            seats = take_seats(config, within.address, before, desk.warn)
        else:
            seats = local_seats(config, within.place, before)
        return replace(seats, beside=place_beside(config, seats))
    if address is not None and config.cluster.most_workers:
        desk.phase(f"joining {address}")
        stack.enter_context(ray_cluster.joined_ray(address))
        import_meanwhile("ray.train.torch")
        seats = take_seats(config, address, before, desk.warn)
        arrival.require_everywhere(config)
        seats = replace(seats, beside=place_beside(config, seats))
    else:
        machine = resources.this_machine()
        seats = local_seats(config, machine, before)
        seats = replace(seats, beside=place_beside(config, seats, alone=machine))
        if config.cluster.most_workers:
            desk.phase("starting Ray")
            workers, more = config.cluster.most_workers, len(seats.beside)
            stack.enter_context(ray_cluster.local_ray(workers + more, workers + more if seats.gpu else 0))
            if place_beside(config, seats) and not more:
                desk.warn(
                    f"evaluate.async: the workers take all {'GPUs' if seats.gpu else 'CPUs'} of this machine, so they "
                    f"score in turn"
                )
    if before not in (None, seats.threads):
        desk.warn(f"cluster.threads was {before} and is {seats.threads} now: the last bits of the weights will differ")
    return seats


def _with_threads(config: Config, payload: dict[str, Any], threads: int) -> tuple[Config, dict[str, Any]]:
    """The run with `cluster.threads` as the number that it has, which is what is recorded."""
    if config.cluster.threads == threads:
        return config, payload
    config = config.model_copy(update={"cluster": config.cluster.model_copy(update={"threads": threads})})
    plain = config.model_dump(mode="json")
    return config, {**payload, "config": plain, "config_text": write_yaml(plain)}


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
            if desk.idle:
                return {"step": 0, "stopped": True}
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
        step = finished["step"]
        where = f"at step {step} of {config.steps} with a checkpoint" if step else "before the workers were up"
        text = f"stopped {where}; the same command goes on"
        return Outcome(STOPPED, {}, home.place, text)
    result = folders.write_result(home.folder, finished)
    home.keep(folders.RESULT)
    return Outcome(DONE, result, home.place)
