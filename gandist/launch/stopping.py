"""Ends a job: with a checkpoint, which the run takes by itself when Ray's signal comes, or at once."""

from __future__ import annotations

import secrets

from gandist.errors import RunError
from gandist.launch.job_server import JOB, Job, JobServer

WAIT = "RAY_JOB_STOP_WAIT_TIME_S"
"""Ray's variable for the seconds between its signal and the kill."""
PATIENCE = 60.0
"""Seconds beyond those that Ray gives the run, until it is said that it does not end."""
KILLED = 30.0
"""Seconds within which a killed job must have ended."""


def stop(server: JobServer, job: Job, now: bool) -> Job:
    """Stops a job and waits until it has ended; the job at its end.

    The signal asks the run for a checkpoint at the next step. Raises RunError if it does not end.
    """
    if job.over:
        return job
    with server.answering():
        server.client.stop_job(job.job)
        variables = (server.client.get_job_info(job.job).runtime_env or {}).get("env_vars", {})
    if now:
        _kill(server, job)
    limit = float(variables.get(WAIT, 3))
    ended = server.wait(job, KILLED if now else limit + PATIENCE)
    if not ended.over:
        raise RunError(
            f"{job.job} does not end; gandist jobs stop {job.job} --now kills it" if not now else _stuck(job)
        )
    return ended


def _stuck(job: Job) -> str:
    return f"{job.job} does not end although it was killed; look at the head of the cluster"


def _kill(server: JobServer, job: Job) -> None:
    """Kills the driver of a job by a job of one line beside it: Ray knows no stop without the wait agreed on before."""
    script = (
        "for p in /proc/[0-9]*; do "
        f"tr '\\0' '\\n' < $p/environ | grep -qxF {JOB}={job.job} && "
        "tr '\\0' ' ' < $p/cmdline | grep -q -- '-m gandist train' && "
        "kill -9 ${p#/proc/}; done; true"
    )
    with server.answering():
        helper = server.client.submit_job(entrypoint=script, submission_id=f"{job.job}-kill-{secrets.token_hex(3)}")
    server.wait(Job(helper, "", "PENDING", None, None, None, "", {}), KILLED)
    with server.answering():
        server.client.delete_job(helper)
