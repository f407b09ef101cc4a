"""A sweep from the command to its table: trials checked, handed to Ray Tune, watched, ranked, the best one written."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gandist.config.sweep import SweepFile, read_sweep
from gandist.config.trials import Trial, best_config, trials
from gandist.config.yaml import write_yaml
from gandist.errors import ConfigError, RunError
from gandist.evaluation.metrics import scores, validate
from gandist.launch import arrival, ray_cluster, resources, tuning
from gandist.launch import folder as folders
from gandist.launch import sweep_folder as homes
from gandist.launch.board import ANSWER, on_this_node
from gandist.launch.placement import cluster_place, take_seats
from gandist.launch.resources import Place
from gandist.launch.run import DONE, POLL, STOPPED
from gandist.launch.signals import Signals
from gandist.launch.sweep_board import SweepBoard
from gandist.launch.sweep_folder import BEST, RESULTS, TABLE, SweepFolder
from gandist.launch.sweep_ledger import FAILED, RUNNING, WAITING, Ledger
from gandist.launch.sweep_told import Teller
from gandist.launch.sweep_trial import Orders

FAILURE = 1


@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended. code: exit code of the command. best: path of the best config, "" if no trial was finished."""

    code: int
    ledger: Ledger
    folder: Path | str
    best: str
    message: str = ""


def sweep(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    name: str | None = None,
    address: str | None = None,
    fresh: bool = False,
) -> SweepOutcome:
    """Runs the trials of a sweep file, or goes on with them.

    Raises ConfigError for a mistake in the file, its config or any trial's, before anything starts.
    """
    file = read_sweep(path, name, overrides)
    found = trials(file, validate, scores)
    for trial in found:
        if address is None:
            resources.require(trial.config, resources.this_machine())
        elif trial.config.cluster.most_workers == 0:
            raise ConfigError(
                f"{file.path}: cluster.workers is 0, which trains in one process on this machine; on a cluster a trial "
                f"needs workers: give cluster.workers=1 or more"
            )
    with homes.owned(found[0].storage, file.sweep.name, fresh) as folder:
        ledger = Ledger(file.sweep.name, file.sweep.metric, file.sweep.mode, found)
        if (old := folder.read(RESULTS)) is not None:
            ledger.read(old, f"{folder.place}/{RESULTS}")
        if isinstance(folder.place, Path):
            for trial in found:
                folders.require_same_run(folder.place / trial.name, trial.config.model_dump(mode="json"))
        sweeping = _Sweep(file, found, folder, ledger)
        if not ledger.left:
            text = f"{folder.place} is finished: {len(found)} trials; --fresh starts it anew"
            return sweeping.outcome(DONE, text)
        return sweeping.run(address)


class _Sweep:
    """The driver's side: it writes the ledger down, shows what is new, and ends the trials when it is asked to."""

    def __init__(self, file: SweepFile, found: list[Trial], folder: SweepFolder, ledger: Ledger):
        self._file, self._trials, self._folder, self._ledger = file, found, folder, ledger
        self._signals, self._teller = Signals(), Teller(ledger)
        self._stopping = False

    def run(self, address: str | None) -> SweepOutcome:
        """Starts or joins Ray and lets Tune run the trials that are left."""
        for warning in self._folder.warnings:
            self._teller.warn(warning)
        with ExitStack() as stack:
            place, room = self._place(stack, address)
            self._teller.begin(room)
            self._write()
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="gandist-"))
            self._watch(place, room, address, scratch)
        return self._ended()

    def _place(self, stack: ExitStack, address: str | None) -> tuple[Place, int]:
        """Where the trials go, and how many at the same time."""
        workers = max(max(1, trial.config.cluster.most_workers) for trial in self._trials)
        if address is not None:
            self._teller.say(f"joining {address}")
            stack.enter_context(ray_cluster.joined_ray(address))
            largest = max(self._trials, key=lambda trial: trial.config.cluster.most_workers)
            take_seats(largest.config, address, None, self._teller.say)
            arrival.require_everywhere(largest.config)
            place = cluster_place(address)
            return place, self._room(place, workers, joined=True)
        place = resources.this_machine()
        room = self._room(place, workers, joined=False)
        gpus = place.gpus if any(resources.wants_gpu(trial.config, place) for trial in self._trials) else 0
        self._teller.say("starting Ray")
        stack.enter_context(ray_cluster.local_ray(max(place.cpus, room * workers), gpus))
        return place, room

    def _room(self, place: Place, workers: int, joined: bool) -> int:
        """Trials at the same time. More would wait for each other's workers without end."""
        gpu = any(resources.wants_gpu(trial.config, place) for trial in self._trials)
        what, oversubscribe = "GPUs" if gpu else "CPUs", 1 if joined else resources.OVERSUBSCRIBE
        clusters = [trial.config.cluster for trial in self._trials]
        # Only on a joined cluster does a worker reserve the cores of its threads.
        threads = [one.threads if joined and one.threads != "auto" else 1 for one in clusters]
        have = min(place.workers(one, gpu, number) for one, number in zip(clusters, threads, strict=True))
        asked = self._file.sweep.concurrent
        if asked == "auto":
            return max(1, min(have // workers, len(self._ledger.left)))
        most = have * (1 if gpu else oversubscribe)
        if asked * workers > max(most, workers):
            raise ConfigError(
                f"{self._file.path}: concurrent: {asked} trials of {workers} workers each do not fit {place.name}, "
                f"which has {have} {what}; set concurrent: {max(1, most // workers)} or less, or auto"
            )
        return min(asked, len(self._ledger.left))

    def _watch(self, place: Place, room: int, address: str | None, scratch: str) -> None:
        """Runs Tune in a thread, so that the main thread is free for signals and news."""
        import ray

        board = on_this_node(SweepBoard)
        scheduler = tuning.halving(self._file.sweep, self._trials, self._ledger, self._teller.warn)
        left = [number for number, trial in enumerate(self._trials) if not self._ledger[trial.name].ended]
        orders = Orders(
            trials=self._trials,
            metric=self._ledger.metric,
            mode=self._ledger.mode,
            place=place,
            address=address,
            cwd=str(Path.cwd()),
            earlier={name: [(i, v) for _, i, v in self._ledger[name].history] for name in self._ledger.left},
        )
        box: dict[str, BaseException] = {}

        def target() -> None:
            try:
                tuning.tune_trials(orders, board, scheduler, left, room, scratch)
            except BaseException as error:
                box["error"] = error

        thread = threading.Thread(target=target, name="tune", daemon=True)
        asked: set[int] = set()
        # Tune prints tables and hints, whatever it is told.
        with self._signals.caught(), contextlib.redirect_stdout(io.StringIO()):
            thread.start()
            while thread.is_alive():
                self._hear(ray.get(board.news.remote(), timeout=ANSWER))
                if scheduler is not None and (halted := scheduler.halted - asked):
                    asked |= halted
                    for number in halted:
                        board.stop.remote(self._trials[number].name)
                if self._signals.came and not self._stopping:
                    self._stopping = True
                    self._teller.say("stopping the trials with checkpoints; once more ends at once")
                    board.stop.remote()
                if self._stopping and not self._ledger.running:
                    # Those that wait need not start only to hear it.
                    return
                thread.join(POLL)
            self._hear(ray.get(board.news.remote(), timeout=ANSWER))
        if "error" in box:
            raise RunError(f"Ray Tune failed: {str(box['error']).strip()}; the same command goes on") from box["error"]

    def _hear(self, news: list[tuple[str, str, dict[str, Any]]]) -> None:
        for name, what, facts in news:
            entry = self._ledger[name]
            again = entry.status == RUNNING and what == "began"
            if what == "began":
                entry.status = RUNNING
            elif what == "evaluated":
                entry.evaluated(**facts)
            elif what == "interrupted":
                entry.status = WAITING
            elif what == FAILED:
                entry.status, entry.error = FAILED, facts["error"]
            elif what in ("done", "stopped early"):
                entry.status = what
                if facts:
                    entry.evaluated(**facts)
            self._teller.tell(entry, what, facts, again)
        if news:
            self._write()

    def _write(self) -> None:
        self._folder.write(RESULTS, json.dumps(self._ledger.as_dict(), indent=1) + "\n")
        self._folder.write(TABLE, self._ledger.as_csv())
        if (best := self._ledger.best) is not None:
            trial = next(one for one in self._trials if one.name == best.trial)
            config = write_yaml(best_config(self._file, trial).model_dump(mode="json"))
            varied = "".join(f"#   {path}: {write_yaml(value, flow=True)}\n" for path, value in trial.values.items())
            self._folder.write(
                BEST,
                f"# gandist train {self._best_path}\n"
                f"# The best of {len(self._trials)} trials of the sweep {self._ledger.sweep}, {best.trial}: "
                f"{self._ledger.metric} {best.value:.6g} after {best.images:,} images, with\n{varied}{config}",
            )

    @property
    def _best_path(self) -> str:
        return os.path.relpath(Path(self._folder.place, BEST)) if self._folder.objects is None else BEST

    def _ended(self) -> SweepOutcome:
        ledger = self._ledger
        if self._stopping:
            count = len(ledger.left)
            return self.outcome(STOPPED, f"stopped with {count} trials left; the same command goes on")
        for name in ledger.running:
            ledger[name].status, ledger[name].error = FAILED, "its process was lost too often (cluster.max_failures)"
            self._teller.tell(ledger[name], FAILED, {"error": ledger[name].error}, False)
        self._write()
        failed = [entry for entry in ledger.entries.values() if entry.status == FAILED]
        text = f"{len(failed)} trials failed; the same command tries them again" if failed else ""
        return self.outcome(DONE if ledger.best is not None else FAILURE, text)

    def outcome(self, code: int, message: str) -> SweepOutcome:
        """The end, with what is known so far."""
        best = f"{self._folder.place}/{BEST}" if self._ledger.best is not None else ""
        return SweepOutcome(code, self._ledger, self._folder.place, best, message)
