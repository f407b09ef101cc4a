"""What every worker runs: finds its rank, parses the config again, trains, and says why if it fails."""

from __future__ import annotations

import os
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gandist.config.resolve import resolve
from gandist.errors import GandistError
from gandist.evaluation.evaluator import Evaluator
from gandist.launch.board import Board, Cause, RemoteBoard
from gandist.launch.watching import Watchers
from gandist.training.loop import train
from gandist.training.run import RunView
from gandist.training.surroundings import Announce, Surroundings

POST_EVERY = 0.25
"""Seconds between two posts of a rank in one phase."""

_FOLLOW_ON = ("gloo", "nccl", "connection closed", "connection reset", "process group", "broken pipe", "socket")
"""What an error of a collective says: it fails because another rank did."""


class Rank:
    """One rank at work: its surroundings, and what it tells the board."""

    def __init__(self, payload: dict[str, Any], board: Board | RemoteBoard, rank: int, world: int):
        self.config = resolve(payload["config"])
        self.board, self.rank, self.world = board, rank, world
        self.step, self._phase, self._posted = 0, "", 0.0
        self.watchers: Watchers | None = None
        self._payload = payload

    def post(self, phase: str, step: int, images: int) -> None:
        """Says where this rank is, a few times a second at most."""
        now = time.monotonic()
        self.step = step
        if phase != self._phase or now - self._posted > POST_EVERY or step == self.config.steps:
            self._phase, self._posted = phase, now
            self.board.post(self.rank, phase, step, images)

    def warn(self, text: str) -> None:
        """Shows a line to the user."""
        self.board.tell("warning", {"text": text})

    def watch(self, run: RunView) -> Announce:
        """Starts the watchers that sit beside rank 0, and passes on to the driver what they are told."""
        self.watchers = Watchers(self.config, run, "rank 0", self.warn)

        def announce(hook: str, **facts: Any) -> None:
            assert self.watchers is not None
            self.watchers.announce(hook, **facts)
            small = {name: value for name, value in facts.items() if not isinstance(value, torch.Tensor)}
            if hook == "gandist_on_train_start":
                small = {"resumed_from": run.resumed_from, "world_size": run.world_size, "id": run.id}
            if hook not in ("gandist_on_samples", "gandist_on_train_end"):
                self.board.tell(hook, small)

        return announce

    def surroundings(self, device: torch.device, evaluator: Evaluator | None) -> Surroundings:
        """What the loop is given."""
        return Surroundings(
            folder=Path(self._payload["folder"]),
            run_id=self._payload["run_id"],
            config_text=self._payload["config_text"],
            rank=self.rank,
            world=self.world,
            device=device,
            watch=self.watch,
            post=self.post,
            requests=self.board.requests,
            request=self.board.request,
            warn=self.warn,
            evaluator=evaluator,
            versions=self._payload["versions"],
        )

    def explain(self, error: Exception) -> None:
        """Tells the board why this rank failed, unless it only follows the failure of another one."""
        if not _follows(error):
            final = isinstance(error, GandistError)
            self.board.fail(Cause(str(error) if final else _told(error), self.step, self.rank, final))


def _follows(error: BaseException) -> bool:
    return isinstance(error, (RuntimeError, ValueError)) and any(word in str(error).lower() for word in _FOLLOW_ON)


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
    board = payload["board"]
    rank = Rank(payload, board, context.get_world_rank(), context.get_world_size())
    if rank.config.cluster.most_workers:
        # In a process of its own: relative paths start where the command was typed, if this node has that folder.
        if Path(payload["cwd"]).is_dir():
            os.chdir(payload["cwd"])
        torch.set_num_threads(rank.config.cluster.threads)
    if rank.config.train.deterministic:
        torch.use_deterministic_algorithms(True)
    try:
        rank.post("opening the data set", 0, 0)
        source = rank.config.dataset.open()
        device = ray.train.torch.get_device()
        evaluator = Evaluator(rank.config, source, device) if rank.config.evaluate.every else None
        finished = train(rank.config, source, rank.surroundings(device, evaluator))
        return asdict(finished)
    except Exception as error:
        if rank.watchers is not None:
            rank.watchers.announce("gandist_on_train_end", error=error)
        rank.explain(error)
        raise
