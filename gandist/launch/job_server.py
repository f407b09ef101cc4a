"""A Ray cluster's job server, from outside: what it knows about gandist's jobs, and their logs."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gandist.errors import ConfigError, RunError, did_you_mean
from gandist.launch.meanwhile import import_meanwhile

VARIABLE = "RAY_API_SERVER_ADDRESS"
ANSWER = 5.0
"""Seconds within which the server must accept a connection."""
AWAY = 60.0
"""Seconds that a server which answered before may be away while a job is followed."""
QUIET = 60.0
"""Seconds without a word of a job that is followed, after which it is asked whether it is still there."""
POLL = 0.5
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
JOB = "GANDIST_JOB"
"""The variable that holds the id of the job that a process belongs to."""
SUBMITTED = "gandist_run"
"""The key in a job's metadata by which gandist's own are known."""


@dataclass(frozen=True)
class Job:
    """One submitted run. status: PENDING, RUNNING, STOPPED (goes on with `resume`), SUCCEEDED or FAILED.

    exit_code: of the command on the cluster; None while it runs, and where Ray ended it. started, ended: seconds since
    1970. message: what Ray says of it. about: what `gandist submit` wrote down of it.
    """

    job: str
    run: str
    status: str
    exit_code: int | None
    started: float | None
    ended: float | None
    message: str
    about: dict[str, str]

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status in ENDED

    @property
    def code(self) -> int:
        """The exit code of the run: 3 if it was stopped, 1 if it failed before its command ran."""
        if self.exit_code is not None:
            return self.exit_code
        return {"SUCCEEDED": 0, "STOPPED": 3}.get(self.status, 1)


def import_client_meanwhile() -> None:
    """Imports Ray's client while the caller checks what is to be submitted."""
    _silence()
    import_meanwhile("ray.job_submission")


def _silence() -> None:
    # Any explicit value silences a notice at each start.
    os.environ.setdefault("RAY_AUTH_MODE", "token")


class JobServer:
    """A connection. address: http://HOST:PORT of the cluster's dashboard; RAY_API_SERVER_ADDRESS if None.

    Every method raises ConfigError if the server does not answer or refuses the token.
    """

    def __init__(self, address: str | None):
        self.address = _checked(address)
        # Ray takes this variable before any argument.
        os.environ[VARIABLE] = self.address
        _silence()
        with self.answering():
            from ray.job_submission import JobSubmissionClient

            self.client = JobSubmissionClient(self.address)

    def jobs(self) -> list[Job]:
        """gandist's jobs, the newest first."""
        with self.answering():
            found = [_job(details) for details in self.client.list_jobs() if SUBMITTED in (details.metadata or {})]
        return sorted(found, key=lambda job: job.started or 0.0, reverse=True)

    def find(self, name: str) -> Job:
        """A job by its id, or the newest of a run. Raises ConfigError with the nearest name if there is none."""
        known = self.jobs()
        for job in known:
            if job.job == name:
                return job
        for job in known:
            if job.run == name:
                return job
        names = [job.job for job in known] + [job.run for job in known]
        raise ConfigError(
            f"{self.address} knows no job and no run {name}{did_you_mean(name, names)}; gandist jobs list shows all"
        )

    def again(self, job: Job) -> Job:
        """The same job as it is now."""
        with self.answering():
            return _job(self.client.get_job_info(job.job))

    def logs(self, job: Job) -> str:
        """All that the job has said."""
        with self.answering():
            return self.client.get_job_logs(job.job)

    def follow(self, job: Job, show: Callable[[str], None]) -> Job:
        """Shows what the job has said and says until it ends; the job at its end.

        Raises RunError if the server goes away for longer than `AWAY`; the job itself may go on.
        """
        shown, silent = 0, None
        while True:
            # Each attempt begins with the first line: what was shown already is left out.
            told = 0

            def pass_on(text: str) -> None:
                nonlocal told, shown, silent
                fresh = text[max(0, shown - told) :]
                told += len(text)
                shown, silent = max(shown, told), None
                if fresh:
                    show(fresh)

            try:
                asyncio.run(self._tail(job.job, pass_on))
                _checked(self.address)
                now = self.again(job)
                if now.over:
                    return now
                silent = None
            except Exception as error:
                silent = silent or time.monotonic()
                if time.monotonic() - silent > AWAY:
                    raise RunError(
                        f"{self.address} has been away for {AWAY:.0f} s ({error}); the job may go on: "
                        f"gandist jobs logs {job.job} --follow"
                    ) from error
            time.sleep(POLL)

    async def _tail(self, name: str, pass_on: Callable[[str], None]) -> None:
        """Until the job ends, or says nothing for so long that the connection may be dead."""
        tail = self.client.tail_job_logs(name)
        with suppress(StopAsyncIteration, TimeoutError):
            while True:
                pass_on(await asyncio.wait_for(anext(tail), QUIET))

    def hold(self, wheel: Path) -> str:
        """Hands a wheel to the cluster, unless it holds that very content; the address by which jobs name it.

        As a zip, which Ray unpacks where it would install a wheel with pip. Without scripts and data that comes to the
        same, and the nodes need neither pip nor an index.
        """
        content = wheel.read_bytes()
        name = f"_ray_pkg_{hashlib.sha256(content).hexdigest()}.zip"
        with self.answering():
            if self.client._do_request("GET", f"/api/packages/gcs/{name}").status_code != 200:
                answer = self.client._do_request("PUT", f"/api/packages/gcs/{name}", data=content)
                answer.raise_for_status()
        return f"gcs://{name}"

    def wait(self, job: Job, seconds: float | None = None) -> Job:
        """The job when it has ended, or as it is after `seconds`."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not (job := self.again(job)).over and (deadline is None or time.monotonic() < deadline):
            time.sleep(POLL)
        return job

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turns what Ray's client raises inside into a ConfigError."""
        try:
            yield
        except ConfigError:
            raise
        except Exception as error:
            raise _refused(self.address, error) from error


def _checked(address: str | None) -> str:
    """The address without what is too much. Raises ConfigError unless somebody listens there."""
    given = address or os.environ.get(VARIABLE)
    form = "http://HEAD:8265, the address of the cluster's dashboard"
    if not given:
        raise ConfigError(f"--address: is missing; give {form}, or set {VARIABLE}")
    shown = f"--address {given}" if address else f"{VARIABLE}={given}"
    parts = urlsplit(given)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        raise ConfigError(f"{shown}: should be {form}")
    try:
        socket.create_connection((host, port or (443 if parts.scheme == "https" else 80)), timeout=ANSWER).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"{shown}: nothing answers there ({error}); is the head up, is its dashboard reachable from here "
            f"(ssh -L 8265:localhost:8265 HEAD), and is it the dashboard's port?"
        ) from error
    return given.rstrip("/")


def _refused(address: str, error: Exception) -> ConfigError:
    from ray.exceptions import AuthenticationError

    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, AuthenticationError):
        why = "the token is wrong" if first.startswith("Authentication failed") else "it wants a token"
        return ConfigError(
            f"{address}: {why}; copy the cluster's to ~/.ray/auth_token, or name it with RAY_AUTH_TOKEN_PATH "
            f"or RAY_AUTH_TOKEN"
        )
    if first.startswith("Request failed"):
        return ConfigError(f"{address}: refuses that: {first[:300]}")
    return ConfigError(f"{address}: is no job server that answers as Ray's do ({first[:300]})")


def _job(details: Any) -> Job:
    about = dict(details.metadata or {})
    status, code = str(getattr(details.status, "value", details.status)), details.driver_exit_code
    if status == "FAILED" and code == 3:
        # Ray knows no other end than success and failure; this run left with a checkpoint.
        status = "STOPPED"
    times = [None if at is None else at / 1000 for at in (details.start_time, details.end_time)]
    return Job(
        job=details.submission_id or "",
        run=about.get(SUBMITTED, ""),
        status=status,
        exit_code=code,
        started=times[0],
        ended=times[1],
        message=details.message or "",
        about=about,
    )
