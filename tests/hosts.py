"""A Ray cluster on several machines in this one, for tests: a head without CPUs, and workers that may die.

h0 is the head, h1, h2, … are the workers. Raises `Unavailable` with the reason where machines cannot be made.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.machines import Machines, Unavailable, address

__all__ = ["HEAD", "Hosts", "Unavailable"]

HEAD = "h0"
PORT, DASHBOARD = 6379, 8265
MEMORY = 100 * 2**20
"""Bytes of each node's object store."""


class Hosts:
    """The cluster. cpus: logical CPUs of a worker. environment: what every command and every Ray process gets.

    unlike: host → what Ray's processes there get instead.
    jobs: whether the head takes jobs, at `url`.
    """

    def __init__(
        self,
        folder: Path,
        workers: int = 2,
        cpus: int = 1,
        environment: Mapping[str, str] | None = None,
        unlike: Mapping[str, Mapping[str, str]] | None = None,
        jobs: bool = False,
    ):
        own = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            **(environment or {}),
        }
        if not jobs:
            # Nor has it a server that Ray Train could wait for.
            own["RAY_API_SERVER_ADDRESS"] = "none://no-dashboard"
        self.address = f"{address(HEAD)}:{PORT}"
        self.url = f"http://{address(HEAD)}:{DASHBOARD}"
        self._jobs = jobs
        self._machines = Machines(folder, own)
        self._names, self._cpus = [f"h{number + 1}" for number in range(workers)], cpus
        self._unlike = unlike or {}

    def __enter__(self) -> Self:
        self._machines.__enter__()
        try:
            self._machines.switch_on(HEAD)
            self._ray_started(HEAD, self._start_ray(HEAD))
            for name in self._names:
                self._machines.switch_on(name)
            starting = {name: self._start_ray(name) for name in self._names}
            for name, process in starting.items():
                self._ray_started(name, process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._machines.__exit__()

    def _start_ray(self, name: str) -> subprocess.Popen[str]:
        role = ["--address", self.address, "--num-cpus", str(self._cpus)]
        if name == HEAD:
            role = ["--head", "--port", str(PORT), "--num-cpus", "0", "--include-dashboard", str(self._jobs).lower()]
            role += ["--dashboard-host", "0.0.0.0", "--dashboard-port", str(DASHBOARD)] if self._jobs else []
        node = ["--node-ip-address", address(name), "--object-store-memory", str(MEMORY), "--disable-usage-stats"]
        ray = str(Path(sys.executable).with_name("ray"))
        other = [f"{key}={value}" for key, value in self._unlike.get(name, {}).items()]
        command = ["env", *other, ray, "start", *node, *role]
        return self.start(name, *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def _ray_started(self, name: str, process: subprocess.Popen[str]) -> None:
        said, _ = process.communicate(timeout=120)
        if process.returncode:
            raise RuntimeError(f"Ray did not start on {name}: {said}")

    def boot(self, name: str) -> None:
        """Switches a host on, off and on again if need be, and starts Ray there. A new name is a new worker."""
        if self._machines.on(name):
            self._machines.switch_off(name)
        self._machines.switch_on(name)
        self._ray_started(name, self._start_ray(name))

    def visit(self, name: str) -> None:
        """Switches a host on that is no part of the cluster, and only reaches it."""
        self._machines.switch_on(name)

    def crash(self, name: str) -> None:
        """A power loss: every process of the host is gone at once."""
        self._machines.switch_off(name)

    def cut(self, name: str) -> None:
        """Pulls the network cable of a host; its processes run on, and nobody is told."""
        self._machines.cut(name)

    def heal(self, name: str) -> None:
        """Plugs the cable in again. Ray's node there ends itself if the cluster gave it up: `boot` brings it back."""
        self._machines.heal(name)

    def slow(self, name: str, *how: str) -> None:
        """A bad cable, in netem's words; a good one without any. Raises Unavailable where the kernel has no netem."""
        self._machines.slow(name, *how)

    def start(self, name: str, *command: str, cwd: Path | str = "/", **keywords: Any) -> subprocess.Popen[str]:
        """Starts a command on a host, as ssh would. keywords: for `subprocess.Popen`."""
        return self._machines.start(name, *command, cwd=cwd, **keywords)

    def run(
        self, name: str, *command: str, cwd: Path | str = "/", timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command on a host to its end."""
        return self._machines.run(name, *command, cwd=cwd, timeout=timeout)
