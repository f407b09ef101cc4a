"""A rank's signs of life, given by a thread of its own, which also fetches what rank 0 is asked for."""

from __future__ import annotations

import os
import socket
import threading
import time

from gandist.launch.board import Board, Place, RemoteBoard

BEAT = 0.25
"""Seconds between two looks at where the rank is."""
SIGN = 2.0
"""Seconds between two signs of life of a rank that does not move, and between two looks at the others."""


class Pulse:
    """Posts where the rank is whenever it has moved, and every `SIGN` seconds in any case."""

    def __init__(self, board: Board | RemoteBoard, rank: int):
        self._board, self._rank = board, rank
        self._place = Place("starting", 0, 0, socket.gethostname(), os.getpid())
        self._asked: set[str] = set()
        self._over = threading.Event()
        if rank == 0:
            board.begin()
        board.post(rank, self._place)
        self._sightings = board.sightings() if rank == 0 else {}
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    @property
    def place(self) -> Place:
        """Where the rank is."""
        return self._place

    def at(self, phase: str, step: int, images: int) -> None:
        """The rank has moved. Costs next to nothing: the thread says it."""
        self._place = Place(phase, step, images, self._place.host, self._place.pid)

    def requests(self) -> set[str]:
        """What was asked for since the last call, as far as it has been fetched. For rank 0."""
        asked = set(self._asked)
        self._asked -= asked
        return asked

    def heartbeats(self) -> dict[int, float]:
        """Seconds since each rank was last heard of, a few seconds old at most. For rank 0."""
        return {rank: seen.heard for rank, seen in sorted(self._sightings.items())}

    def close(self) -> None:
        """Says where the rank is for the last time."""
        self._over.set()
        self._board.post(self._rank, self._place)

    def _beat(self) -> None:
        posted, said, looked = self._place, time.monotonic(), 0.0
        while not self._over.wait(BEAT):
            now, place = time.monotonic(), self._place
            try:
                if place != posted or now - said > SIGN:
                    self._board.post(self._rank, place)
                    posted, said = place, now
                if self._rank == 0:
                    self._asked |= self._board.requests()
                    if now - looked > SIGN:
                        self._sightings, looked = self._board.sightings(), now
            except Exception:
                # The board is out of reach: the run ends or goes on without it, but not because of it.
                continue
