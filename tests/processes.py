"""Starts `gandist` as a user does, finds the processes of that very run, and kills them without warning."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

GANDIST = [sys.executable, "-m", "gandist"]


def start(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """`gandist ARGUMENTS` in a folder, with stderr in `cwd/stderr.txt`."""
    with (cwd / "stderr.txt").open("a") as stderr:
        return subprocess.Popen(
            [*GANDIST, *arguments],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, **environment},
        )


def run(*arguments: str, cwd: Path, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
    """`gandist ARGUMENTS` to its end."""
    return subprocess.run(
        [*GANDIST, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
        check=False,
    )


def install(folder: Path, name: str, module: str, source: str) -> str:
    """A plugin distribution as pip would leave it; returns what to put on PYTHONPATH."""
    site = folder / "site"
    about = site / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (site / f"{module}.py").write_text(source)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[gandist]\n{name} = {module}\n")
    return str(site)


def _parents() -> dict[int, int]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name, in parentheses, may hold spaces; the parent comes second after it.
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    return found


def descendants(pid: int) -> list[int]:
    """All processes below `pid`."""
    parents, tree = _parents(), [pid]
    for one in tree:
        tree += [child for child, parent in parents.items() if parent == one]
    return tree[1:]


def training_workers(pid: int) -> list[int]:
    """The processes below `pid` in which Ray Train's workers run."""
    found = []
    for one in descendants(pid):
        try:
            command = Path(f"/proc/{one}/cmdline").read_text()
        except OSError:
            continue
        if "RayTrainWorker" in command:
            found.append(one)
    return found


def kill_tree(process: subprocess.Popen[str]) -> None:
    """kill -9 of a driver and all that it started."""
    for pid in [process.pid, *descendants(process.pid)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], what: str, seconds: float = 180) -> None:
    """Waits until the condition holds, and fails if the process ends before."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            raise AssertionError(f"the run ended before {what}: {process.stdout.read() if process.stdout else ''}")
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {seconds:.0f} s")
        time.sleep(0.05)
