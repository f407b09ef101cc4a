"""Several machines on one, for tests: each has a network, processes, /tmp/ray, /dev/shm and a host name of its own.

A bridge joins them, and they reach nothing else; the file system is common, like a mounted share. All of them live
below one process, which dies with whoever started it: then the kernel takes processes, networks and mounts away.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.processes import descendants

NETWORK = "10.77.0"
MOST = 10
_NEW = "unshare --net --mount --pid --fork --mount-proc --kill-child"
_WAIT = "echo up; while :; do sleep 3600 & wait; done"
"""What the first process does: it waits for its orphans, as every first process must."""
_ROOM = f"ip link add br0 type bridge && ip link set br0 up && {_WAIT}"
_MACHINE = f"""
set -e
hostname "$1"
mount --bind "$2" /tmp/ray
mount -t tmpfs -o size=1g tmpfs /dev/shm
mount --bind "$3" /etc/hosts
{_WAIT}
"""


class Unavailable(Exception):  # noqa: N818 - it says that a test cannot run, not that something is wrong.
    """Why there can be no machines here."""


def require() -> None:
    """Raises Unavailable unless this process may make namespaces and networks."""
    if os.geteuid():
        raise Unavailable("namespaces need root")
    for tool in ("ip", "unshare", "nsenter", "setpriv", "mount", "hostname"):
        if shutil.which(tool) is None:
            raise Unavailable(f"there is no {tool} (iproute2, util-linux, hostname)")
    probe = "ip link add br0 type bridge && ip link add v0 type veth peer name v1 && mount -t tmpfs tmpfs /dev/shm"
    tried = subprocess.run([*_NEW.split(), "--uts", "sh", "-c", probe], capture_output=True, text=True, timeout=30)
    if tried.returncode:
        raise Unavailable(f"namespaces are not permitted: {tried.stderr.strip()}")


def address(name: str) -> str:
    """Of machine h0, h1, …, h9, whether it is on or not."""
    return f"{NETWORK}.{10 + int(name.removeprefix('h'))}"


class Machines:
    """A room in which machines are switched on and off. folder: for their logs and private files.

    environment: what every command on a machine gets, beside a few variables that every machine sets.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]):
        self._folder, self._environment = folder, dict(environment)
        self._entries: dict[str, subprocess.Popen[str]] = {}
        self._first: dict[str, int] = {}

    def __enter__(self) -> Self:
        require()
        self._folder.mkdir(parents=True, exist_ok=True)
        lines = ["127.0.0.1 localhost", *(f"{address(name)} {name}" for name in (f"h{n}" for n in range(MOST)))]
        (self._folder / "hosts").write_text("\n".join(lines) + "\n")
        # Gets SIGKILL when this thread ends, however that happens.
        command = ["setpriv", "--pdeathsig", "KILL", *_NEW.split(), "sh", "-c", _ROOM]
        self._room = self._begin(command, "the room")
        self._room_first = descendants(self._room.pid)[0]
        return self

    def __exit__(self, *_: object) -> None:
        # The namespaces of the machines lie inside those of the room: nothing outlives its first process.
        os.kill(self._room_first, signal.SIGKILL)
        for process in (self._room, *self._entries.values()):
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def _begin(self, command: list[str], what: str) -> subprocess.Popen[str]:
        with (self._folder / "machines.log").open("a") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        if process.stdout.readline() != "up\n":
            process.wait()
            raise RuntimeError(f"{what} did not come up: {(self._folder / 'machines.log').read_text()}")
        return process

    def on(self, name: str) -> bool:
        """Whether the machine has power."""
        return name in self._entries

    def switch_on(self, name: str) -> None:
        """Power for a machine; its private files are gone."""
        private = self._folder / name
        shutil.rmtree(private, ignore_errors=True)
        (private / "home").mkdir(parents=True)
        Path("/tmp/ray").mkdir(exist_ok=True)
        command = ["nsenter", "-t", str(self._room_first), "-m", "-p", *_NEW.split(), "--uts", "--ipc"]
        script = ["sh", "-c", _MACHINE, "sh", name, str(private), str(self._folder / "hosts")]
        self._entries[name] = self._begin([*command, *script], name)
        # Below the entry: `unshare`, and below that the first process of the machine.
        self._first[name] = descendants(self._entries[name].pid)[1]
        self._plug_in(name)

    def switch_off(self, name: str) -> None:
        """A power loss: all processes are gone at once."""
        os.kill(self._first.pop(name), signal.SIGKILL)
        process = self._entries.pop(name)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        # Goes by itself a moment later.
        self._switch(f"link del v-{name}", check=False)

    def _plug_in(self, name: str) -> None:
        pid, number = self._first[name], address(name).rpartition(".")[2]
        self._switch(f"link add v-{name} type veth peer name eth0 netns {pid}", f"link set v-{name} master br0 up")
        # The same hardware address after each start: the others remember it.
        own = [
            "link set lo up",
            f"link set eth0 address 02:00:00:00:00:{int(number):02x}",
            f"addr add {address(name)}/24 dev eth0",
            "link set eth0 up",
        ]
        _ip(pid, *own)

    def _switch(self, *lines: str, check: bool = True) -> None:
        _ip(self._room_first, *lines, check=check)

    def cut(self, name: str) -> None:
        """Pulls the network cable of a machine; its processes run on."""
        self._switch(f"link set v-{name} down")

    def heal(self, name: str) -> None:
        """Plugs the cable in again."""
        self._switch(f"link set v-{name} up")

    def slow(self, name: str, *how: str) -> None:
        """A bad cable, in netem's words ("delay", "50ms", "loss", "1%"); a good one without any.

        Raises Unavailable where the kernel has no netem.
        """
        kind = ["replace", "dev", f"v-{name}", "root", "netem", *how] if how else ["del", "dev", f"v-{name}", "root"]
        command = ["nsenter", "-t", str(self._room_first), "-n", "tc", "qdisc", *kind]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"tc netem: {done.stderr.strip()}")

    def start(self, name: str, *command: str, cwd: Path | str = "/", **keywords: Any) -> subprocess.Popen[str]:
        """Starts a command on a machine, as ssh would. keywords: for `subprocess.Popen`."""
        return subprocess.Popen(self._there(name, command, cwd), text=True, **keywords)

    def run(
        self, name: str, *command: str, cwd: Path | str = "/", timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command on a machine to its end."""
        there = self._there(name, command, cwd)
        return subprocess.run(there, capture_output=True, text=True, timeout=timeout, check=False)

    def _there(self, name: str, command: tuple[str, ...], cwd: Path | str) -> list[str]:
        own = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": "/tmp/ray/home",
            "TMPDIR": "/tmp/ray",
            **self._environment,
        }
        variables = [f"{key}={value}" for key, value in own.items()]
        enter = ["nsenter", "-t", str(self._first[name]), "-n", "-m", "-p", "-u", "-i"]
        return [*enter, "env", "-i", "-C", str(cwd), *variables, *command]


def _ip(pid: int, *lines: str, check: bool = True) -> None:
    """Runs commands of `ip` in the network of a process."""
    command = ["nsenter", "-t", str(pid), "-n", "ip", "-batch", "-"]
    subprocess.run(command, input="\n".join(lines), text=True, capture_output=True, check=check)
