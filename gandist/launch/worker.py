"""What every worker runs: finds its rank, parses the config again, trains, and says why if it fails."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from gandist.config.resolve import resolve
from gandist.contract.components import Source
from gandist.errors import GandistError
from gandist.evaluation.evaluator import Evaluator
from gandist.launch.board import Board, Cause, RemoteBoard
from gandist.launch.evaluating import Beside, Order
from gandist.launch.gauges import Gauges
from gandist.launch.preemption import watch_for_preemption
from gandist.launch.pulse import Pulse
from gandist.launch.watching import Watchers
from gandist.training.loop import train
from gandist.training.mirror import CHECKPOINTS, Mirror
from gandist.training.run import RunView
from gandist.training.staging import staging
from gandist.training.surroundings import Announce, Surroundings
from gandist.training.waiting import on_every_rank
from gandist.training.writer import Writer

_FOLLOW_ON = ("gloo", "nccl", "connection closed", "connection reset", "process group", "broken pipe", "socket")
"""What an error of a collective says: it fails because another rank did."""

_TIMED_OUT = ("timed out", "timeout", "did not come")
"""What it says when nothing was heard of the other rank for too long."""

_UNHEARD = 10.0
"""Seconds of silence from which on a rank counts as the one that the others wait for."""

_WRITING = 60.0
"""Seconds that a failed rank 0 gives the checkpoint in flight."""


class Rank:
    """One rank at work: its surroundings, and what it tells the board."""

    def __init__(self, payload: dict[str, Any], board: Board | RemoteBoard, rank: int, world: int):
        self.folder = Path(payload["folder"])
        self.mirror: Mirror | None = None
        self.config = resolve(payload["config"])
        self.board, self.rank, self.world = board, rank, world
        self.pulse, self.writer = Pulse(board, rank), Writer(self.config.cluster.storage_error == "wait", self.warn)
        self.watchers: Watchers | None = None
        self._payload = payload

    def settle(self, stack: ExitStack) -> None:
        """Takes a local folder of its own, as long as the stack is open, if the run lies on object storage."""
        if url := self._payload["url"]:
            self.folder, self.mirror = stack.enter_context(staging()), Mirror(url)

    def warn(self, text: str) -> None:
        """Shows a line to the user."""
        self.board.tell("warning", {"text": text})

    def watch(self, run: RunView) -> Announce:
        """Starts the watchers that sit beside rank 0, and passes on to the driver what they are told."""

        def alarm(step: int, name: str, text: str, raised: bool) -> None:
            announce("gandist_on_alarm", step=step, name=name, text=text, raised=raised)

        self.watchers = Watchers(self.config, replace(run, alarm=alarm), "rank 0", self.warn)
        gauges = Gauges(run.name) if self._payload["joined"] and self.config.cluster.most_workers else None

        def announce(hook: str, **facts: Any) -> None:
            assert self.watchers is not None
            self.watchers.announce(hook, **facts)
            if hook == "gandist_on_log" and gauges is not None:
                gauges.set(facts["scalars"])
            small = {name: value for name, value in facts.items() if not isinstance(value, torch.Tensor)}
            if hook == "gandist_on_train_start":
                small = {"resumed_from": run.resumed_from, "world_size": run.world_size, "id": run.id}
            if hook == "gandist_on_checkpoint" and self.mirror is not None:
                small["path"] = f"{self.mirror.objects.place}/{CHECKPOINTS}/{facts['path'].name}"
            if hook not in ("gandist_on_samples", "gandist_on_probe", "gandist_on_pictures", "gandist_on_train_end"):
                self.board.tell(hook, small)

        return announce

    def beside(self, stack: ExitStack) -> Beside | None:
        """Who scores checkpoints beside the training, as long as the stack is open, if that is wanted and may be."""
        if self.rank != 0 or not self._payload["beside"]:
            return None
        known = {name: self._payload[name] for name in ("config", "folder", "url", "cwd")}
        beside = Beside(Order(self._payload["beside"], **known), self.config.evaluate.limit)
        stack.callback(beside.close)
        return beside

    def surroundings(self, device: torch.device, evaluator: Evaluator | None, beside: Beside | None) -> Surroundings:
        """What the loop is given."""
        return Surroundings(
            folder=self.folder,
            run_id=self._payload["run_id"],
            config_text=self._payload["config_text"],
            rank=self.rank,
            world=self.world,
            device=device,
            watch=self.watch,
            post=self.pulse.at,
            requests=self.pulse.requests,
            request=self.board.request,
            until=self._payload["until"],
            heartbeats=self.pulse.heartbeats,
            mirror=self.mirror,
            writer=self.writer,
            warn=self.warn,
            evaluator=evaluator,
            beside=beside,
            profile=self._payload["profile"],
            versions=self._payload["versions"],
        )

    def prepare(self, source: Source) -> None:
        """Brings the data to this node, if they lie elsewhere."""

        def told(text: str) -> None:
            self.pulse.at(f"fetching the data: {text}", 0, 0)

        for stream in source.streams().values():
            if stream.elsewhere:
                told("looking for it on this node")
            stream.prepare(told)

    def leave(self, reason: str) -> None:
        """Asks for an end with a checkpoint, and says why once."""
        if self.rank == 0:
            self.warn(reason)
            self.board.request("stop")

    def fail(self, error: Exception) -> None:
        """Ends the watchers and tells the board why this rank failed, unless it only follows another one's failure."""
        cause = self._cause(error)
        if self.watchers is not None:
            self.watchers.announce("gandist_on_train_end", error=error)
        # The driver leaves as soon as it reads of a cause that is final: what is under way goes first.
        self.writer.wait(_WRITING)
        with suppress(OSError):
            self.send_rest()
        if cause is not None:
            self.board.fail(cause)

    def _cause(self, error: Exception) -> Cause | None:
        step = self.pulse.place.step
        if isinstance(error, GandistError):
            return Cause(str(error), step, self.rank, final=True)
        if _timed_out(error):
            return Cause(self._waited_for(), step, self.rank)
        return None if _follows(error) else Cause(_told(error), step, self.rank)

    def send_rest(self) -> None:
        """Sends to the object storage what has been written since the last checkpoint."""
        if self.mirror is not None and self.rank == 0:
            self.mirror.put_changed(self.folder, everything=True)

    def _waited_for(self) -> str:
        """Who kept this rank waiting until a collective gave up, as far as the board knows."""
        others = {rank: seen for rank, seen in self.board.sightings().items() if rank != self.rank}
        behind = [rank for rank, seen in others.items() if seen.heard > _UNHEARD]
        if not behind:
            mine = self.pulse.place
            behind = [r for r, seen in others.items() if (seen.place.step, seen.place.phase) != (mine.step, mine.phase)]
        waited = f"waited {self.config.cluster.timeout} s (cluster.timeout) at step {self.pulse.place.step} for "
        if not behind:
            return waited + "the other ranks, all of which gave signs of life; is the network between them whole?"
        return waited + "; ".join(others[rank].told(rank) for rank in behind)


def _follows(error: BaseException) -> bool:
    return isinstance(error, (RuntimeError, ValueError)) and any(word in str(error).lower() for word in _FOLLOW_ON)


def _timed_out(error: BaseException) -> bool:
    return _follows(error) and any(words in str(error).lower() for words in _TIMED_OUT)


def _told(error: BaseException) -> str:
    """The error in one paragraph: where in whose code, what, and the notes of the engine."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    notes = " ".join(getattr(error, "__notes__", []))
    return f"{place}{type(error).__name__}: {error} {notes}".strip()


def work(payload: dict[str, Any]) -> dict[str, Any]:
    """Trains as one rank of the group that Ray made, and returns how it ended.

    A failure is told to the board and raised: Ray ends the other ranks, which may be waiting for this one, and starts
    the group anew, unless the driver finds on the board that it would fail again.
    """
    import ray.train
    import ray.train.torch

    context = ray.train.get_context()
    return _work(payload, context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device)


def work_here(payload: dict[str, Any], gpu: bool) -> dict[str, Any]:
    """Trains in this process, without Ray, and returns how it ended."""
    return _work(payload, 0, 1, lambda: torch.device("cuda", 0) if gpu else torch.device("cpu"))


def _work(payload: dict[str, Any], number: int, world: int, find_device: Callable[[], torch.device]) -> dict[str, Any]:
    try:
        rank = Rank(payload, payload["board"], number, world)
    except GandistError as error:
        # A node that came after the others were asked what they have. Trying again would fail again.
        cause = Cause(f"node {socket.gethostname()}: {error}", 0, number, final=True)
        payload["board"].fail(cause)
        raise
    if rank.config.cluster.most_workers:
        # In a process of its own: relative paths start where the command was typed, if this node has that folder.
        if Path(payload["cwd"]).is_dir():
            os.chdir(payload["cwd"])
        # The driver has made a number of "auto".
        torch.set_num_threads(int(rank.config.cluster.threads))
    if rank.config.train.deterministic:
        torch.use_deterministic_algorithms(True)
    with ExitStack() as stack:
        stack.callback(rank.pulse.close)
        try:
            rank.settle(stack)
            rank.pulse.at("opening the data set", 0, 0)
            source = rank.config.dataset.open()
            on_every_rank(lambda: rank.prepare(source))
            device = find_device()
            evaluator = Evaluator(rank.config, source, device) if rank.config.evaluate.every else None
            if payload["joined"] and rank.config.cluster.most_workers:
                watch_for_preemption(rank.leave)
            finished = train(rank.config, source, rank.surroundings(device, evaluator, rank.beside(stack)))
            rank.send_rest()
            return asdict(finished)
        except Exception as error:
            rank.fail(error)
            raise
