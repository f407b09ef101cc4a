"""From the command to the end of the first step on a cluster: `gandist submit` against a bare `ray job submit`.

One host with a head and its job server on loopback, which stays up. The bare side submits `minimal_ray_train.py`.
Rounds are interleaved, and a first round of each, which fills caches, is left out. A phase ends when the command
returns, with a line in the job's log, or with a file that rank 0 writes.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from phases import compared

PHASES = ("command", "driver begins", "joined", "workers up", "first step")
TARGET, LIMIT = 1.3, 180.0
GCS, DASHBOARD = 26379, 28265
URL = f"http://127.0.0.1:{DASHBOARD}"


@dataclass(frozen=True)
class Contestant:
    """What submits a job. lines: how the lines of its log begin that end phases. files: that its rank 0 writes."""

    command: list[str]
    job: str | None
    lines: tuple[str, ...]
    files: tuple[Path, ...]


def gandist(config: str, folder: Path) -> Contestant:
    """A run of one step, with gandist and its plugins sent along."""
    settings = ["train.images=1", "train.log_every=1", "evaluate.every=0", "run.name=run", f"cluster.storage={folder}"]
    command = [sys.executable, "-m", "gandist", "submit", config, *settings, "--workers", "2", "--address", URL]
    lines = ("joining", "starting the workers", "opening the data set")
    return Contestant(command, None, lines, (folder / "run" / "metrics.jsonl",))


def bare(config: str, folder: Path) -> Contestant:
    """The minimal script, which knows no config; the cluster has its file already."""
    job = f"bare-{secrets.token_hex(3)}"
    script = Path(__file__).with_name("minimal_ray_train.py")
    ray = str(Path(sys.executable).with_name("ray"))
    submit = [ray, "job", "submit", "--address", URL, "--no-wait", "--submission-id", job]
    lines = ("starting Ray", "starting the workers")
    files = (folder / "workers-up", folder / "first-step")
    return Contestant([*submit, "--", sys.executable, str(script), str(folder)], job, lines, files)


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """A head on loopback with two logical CPUs; the environment of commands."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    ray = str(Path(sys.executable).with_name("ray"))
    where = ["--port", str(GCS), "--dashboard-host", "127.0.0.1", "--dashboard-port", str(DASHBOARD)]
    size = ["--num-cpus", "2", "--object-store-memory", str(100 * 2**20), "--temp-dir", str(folder)]
    command = [ray, "start", "--head", "--block", "--node-ip-address", "127.0.0.1", *where, *size]
    with (folder / "head.log").open("w") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        status = [ray, "job", "list", "--address", URL]
        while subprocess.run(status, env=environment, capture_output=True, check=False).returncode:
            if head.poll() is not None:
                raise SystemExit(f"no head: {(folder / 'head.log').read_text()}")
        yield environment
    finally:
        head.terminate()
        head.wait()


def measure(contestant: Contestant, session: Path, environment: Mapping[str, str]) -> list[float]:
    """Seconds of each phase."""
    begin = time.time()
    sent = subprocess.run(contestant.command, env=dict(environment), capture_output=True, text=True, check=False)
    ends = [time.time() - begin]
    if sent.returncode:
        raise SystemExit(f"{' '.join(contestant.command)}:\n{sent.stdout}{sent.stderr}")
    job = contestant.job or sent.stdout.split()[1]
    log = session / "session_latest" / "logs" / f"job-driver-{job}.log"
    seen: dict[str, float] = {}
    while time.time() - begin < LIMIT and not all(file.exists() for file in contestant.files):
        said = log.read_text().splitlines() if log.exists() else []
        for word in contestant.lines:
            if word not in seen and any(line.startswith(word) for line in said):
                seen[word] = time.time() - begin
        time.sleep(0.02)
    # A phase may have ended while the command was still on its way back.
    ends += [max(ends[0], seen[word]) for word in contestant.lines if word in seen]
    ends += [file.stat().st_mtime - begin for file in contestant.files if file.exists()]
    if len(ends) != len(PHASES):
        raise SystemExit(f"{job} did not come to its first step:\n{log.read_text() if log.exists() else ''}")
    ray = str(Path(sys.executable).with_name("ray"))
    while (
        "RUNNING"
        in subprocess.run(
            [ray, "job", "status", "--address", URL, job],
            env=dict(environment),
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    ):
        time.sleep(0.5)
    return [end - start for start, end in zip([0.0, *ends], ends, strict=False)]


def main() -> int:
    """Measures and prints. Returns 0 if the target is reached, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    standard = Path(__file__).parents[1] / "configs/digits.yaml"
    parser.add_argument("config", metavar="CONFIG", nargs="?", default=str(standard), help="default: configs/digits")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("--rounds must be at least 1")
    # The cluster must not outlive a benchmark that is ended from outside.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    contestants = (gandist, bare)
    # Short, since the names of Ray's sockets begin with it.
    with tempfile.TemporaryDirectory(prefix="r-", dir="/tmp") as session, cluster(Path(session)) as environment:

        def seconds(which: int) -> list[float]:
            with tempfile.TemporaryDirectory() as folder:
                return measure(contestants[which](given.config, Path(folder)), Path(session), environment)

        return compared(("gandist submit", "ray job submit"), PHASES, given.rounds, TARGET, seconds)


if __name__ == "__main__":
    sys.exit(main())
