"""One driver at a time owns a run on object storage, as far as storage without locks allows."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gandist.errors import ConfigError, RunError
from gandist.launch.folder import LOCK
from gandist.training.objects import Objects

REFRESH = 5.0
"""Seconds between two signs of life of an owner."""
STALE = 60.0
"""Age in seconds of the last one from which on an owner may be dead."""
SETTLE = 1.0
"""Seconds after which one of several who took the lock at the same time has won."""


class Ownership:
    """Says in an object, written again all the time, that this process owns the run.

    The lock of a dead process of this machine is taken over at once, that of another machine when it has been silent
    for STALE seconds.
    """

    def __init__(self, objects: Objects, warn: Callable[[str], None]):
        self._objects, self._warn = objects, warn
        self._mine = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "machine": _machine(),
            "token": secrets.token_hex(8),
        }
        self._lost = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="ownership", daemon=True)

    def take(self) -> None:
        """Owns the run from now on. Raises ConfigError if another process does, naming its host and pid, or OSError."""
        owner = self._owner()
        if owner is not None and not self._is_dead(owner):
            raise ConfigError(self._in_use_by(owner))
        self._write()
        time.sleep(SETTLE)
        winner = self._owner()
        if winner is None or winner["token"] != self._mine["token"]:
            raise ConfigError(self._in_use_by(winner or {"host": "unknown", "pid": "unknown"}))
        self._thread.start()

    def release(self) -> None:
        """Leaves the run to the next one, without a trace if nothing came of it."""
        self._over.set()
        self._thread.join()
        with suppress(OSError):
            owner = self._owner()
            if owner is not None and owner["token"] == self._mine["token"]:
                self._objects.delete(LOCK)
                if not self._objects.list():
                    # Some storages keep an empty folder.
                    self._objects.delete_folder()

    def require(self) -> None:
        """Raises RunError once another process has taken the run over."""
        if self._lost:
            raise RunError(self._lost)

    def _keep(self) -> None:
        while not self._over.wait(REFRESH):
            # The storage may be away for a while; whoever takes the run over meanwhile is seen when it is back.
            with suppress(OSError):
                owner = self._owner()
                # Without a token it is one that was read while it was written, as happens on plain disks.
                if owner is not None and owner["token"] not in ("", self._mine["token"]):
                    self._lost = (
                        f"{self._objects.place} was taken over by host {owner['host']}, pid {owner['pid']}, because "
                        f"this process gave no sign of life for {STALE:g} s; it has left the run to the other one"
                    )
                    return
                self._write()

    def _write(self) -> None:
        self._objects.write(LOCK, json.dumps({**self._mine, "time": time.time()}).encode())

    def _owner(self) -> dict[str, Any] | None:
        content = self._objects.read(LOCK)
        if content is None:
            return None
        unknown = {"host": "unknown", "pid": "unknown", "machine": "", "token": "", "time": 0.0}
        try:
            return {**unknown, **json.loads(content)}
        except (ValueError, TypeError):
            return unknown

    def _is_dead(self, owner: dict[str, Any]) -> bool:
        if owner["machine"] == self._mine["machine"] != "" and not Path(f"/proc/{owner['pid']}").exists():
            return True
        if time.time() - owner["time"] < STALE:
            return False
        # Clocks differ: an owner that is alive writes again meanwhile.
        time.sleep(2 * REFRESH)
        if self._owner() != owner:
            return False
        self._warn(
            f"took {self._objects.place} over from host {owner['host']}, pid {owner['pid']}, "
            f"which has given no sign of life for {STALE:g} s"
        )
        return True

    def _in_use_by(self, owner: dict[str, Any]) -> str:
        return (
            f"{self._objects.place} is in use by host {owner['host']}, pid {owner['pid']}; wait for it, stop it, or "
            f"give this run another run.name (a run that was killed is free {STALE:g} s later)"
        )


def _machine() -> str:
    """What is equal for two processes that see each other's pids, "" where that cannot be known."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
