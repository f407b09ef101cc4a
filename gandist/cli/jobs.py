"""Verbs about runs on a cluster that this machine is no part of: submit, and jobs with its own verbs."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gandist.cli.app import ConfigArgument, JsonOption, OverridesArgument, app, ending, guarded, verb
from gandist.cli.output import print_json, print_rows, print_table

if TYPE_CHECKING:
    from gandist.launch.job_server import Job, JobServer
    from gandist.launch.submit import Options, Submitted

AddressOption = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Dashboard of the cluster, http://HEAD:8265; else RAY_API_SERVER_ADDRESS."),
]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, or name of a run: its newest job.")]
FollowOption = Annotated[
    bool, typer.Option("--follow", help="Show what the job says until it ends, and end with the run's exit code.")
]
EnvironmentOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="YAML with more for Ray's runtime environment: pip, env_vars, image_uri, …"),
]
VariableOption = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME[=VALUE]", help="Pass this variable on; all who see the job can read it."),
]
ShipOption = Annotated[
    bool, typer.Option("--ship/--no-ship", help="Send gandist and the plugins that no package index has along.")
]

jobs = typer.Typer(no_args_is_help=True, help="List, watch, stop and resume the runs that were submitted to a cluster.")
app.add_typer(jobs, name="jobs")


@verb
def submit(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    address: AddressOption = None,
    follow: FollowOption = False,
    workers: Annotated[str | None, typer.Option(metavar="N|MIN..MAX", help="Short for cluster.workers=….")] = None,
    runtime_env: EnvironmentOption = None,
    env: VariableOption = None,
    ship: ShipOption = True,
    fresh: Annotated[bool, typer.Option("--fresh", help="Move an existing run aside and start anew.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Train a config on a Ray cluster: checked here, sent as a job with its plugins."""
    from gandist.launch.job_server import JobServer, import_client_meanwhile

    import_client_meanwhile()
    from gandist.config.compose import compose
    from gandist.launch.portable import portable
    from gandist.launch.submit import submit as send

    given = [*(overrides or []), *([f"cluster.workers={workers}"] if workers is not None else [])]
    options = _options(runtime_env, env, ship, fresh)
    what = portable(compose(config, given))
    server = JobServer(address)
    return _sent(send(what, server, options), server, follow, as_json)


@jobs.command("list")
@ending
def list_jobs(address: AddressOption = None, as_json: JsonOption = False) -> None:
    """The cluster's gandist jobs, the newest first."""
    found = _server(address).jobs()
    if as_json:
        print_json([_as_dict(job) for job in found])
    elif found:
        rows = [(job.job, job.run, job.status, _time(job.started), _time(job.ended)) for job in found]
        print_table(("job", "run", "status", "started", "ended"), rows)
    else:
        print("no jobs of gandist on this cluster")


@jobs.command()
@ending
def status(job: JobArgument, address: AddressOption = None, as_json: JsonOption = False) -> None:
    """How a job is doing: its status, its place, and what it said last."""
    server = _server(address)
    found = server.find(job)
    said = [line for line in server.logs(found).splitlines() if line.strip()]
    about = {**_as_dict(found), "last": said[-1] if said else ""}
    if as_json:
        print_json(about)
    else:
        shown = {**about, "started": _time(found.started), "ended": _time(found.ended)}
        print_rows([(name, str(value)) for name, value in shown.items() if value not in (None, "")])


@jobs.command()
@ending
def logs(
    job: JobArgument, address: AddressOption = None, follow: FollowOption = False, as_json: JsonOption = False
) -> int:
    """What a job has said; with --follow, ends with the run's exit code."""
    server = _server(address)
    found = server.find(job)
    code = _followed(server, found, sys.stderr if as_json else sys.stdout) if follow else 0
    if as_json:
        print_json({**_as_dict(server.again(found)), "log": server.logs(found)})
    elif not follow:
        print(server.logs(found), end="")
    return code


@jobs.command()
@ending
def stop(
    job: JobArgument,
    address: AddressOption = None,
    now: Annotated[
        bool, typer.Option("--now", help="Without a checkpoint: loses the steps since the last one.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Stop a job after the step in hand, with a checkpoint; `resume` goes on."""
    from gandist.launch.stopping import stop as end

    server = _server(address)
    found = server.find(job)
    if not found.over:
        print(f"stopping {found.job}{'' if now else ' after its step, with a checkpoint'} …", file=sys.stderr)
    ended = end(server, found, now)
    if as_json:
        print_json(_as_dict(ended))
    else:
        print(f"{ended.job} is {ended.status.lower()}" + (": it had ended before" if found.over else ""))


@jobs.command()
@guarded
def resume(
    job: JobArgument,
    overrides: OverridesArgument = None,
    address: AddressOption = None,
    follow: FollowOption = False,
    runtime_env: EnvironmentOption = None,
    env: VariableOption = None,
    ship: ShipOption = True,
    as_json: JsonOption = False,
) -> int:
    """Submit the config of a job that has ended again: the run goes on from its last checkpoint."""
    from gandist.launch.submit import resume as again

    options = _options(runtime_env, env, ship, fresh=False)
    server = _server(address)
    return _sent(again(server.find(job), server, overrides or [], options), server, follow, as_json)


def _server(address: str | None) -> JobServer:
    from gandist.launch.job_server import JobServer

    return JobServer(address)


def _options(runtime_env: Path | None, env: list[str] | None, ship: bool, fresh: bool) -> Options:
    from gandist.launch.submit import Options, read_environment

    environment = read_environment(runtime_env) if runtime_env is not None else None
    return Options(ship, environment, tuple(env or ()), fresh)


def _sent(sent: Submitted, server: JobServer, follow: bool, as_json: bool) -> int:
    for warning in sent.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    about = {
        "job": sent.job,
        "run": sent.run,
        "folder": sent.folder,
        "shipped": {wheel.name: wheel.version for wheel in sent.shipped},
    }
    if not as_json:
        where = f"--address {sent.address}"
        rows = [("job", sent.job), ("run", sent.folder)]
        if sent.shipped:
            rows.append(("shipped", ", ".join(f"{wheel.name} {wheel.version}" for wheel in sent.shipped)))
        verbs = ("status", "stop", "resume") if follow else ("logs", "status", "stop", "resume")
        ends = {"logs": " --follow"}
        rows += [(name, f"gandist jobs {name} {sent.job} {where}{ends.get(name, '')}") for name in verbs]
        print_rows(rows)
    if not follow:
        if as_json:
            print_json(about)
        return 0
    code = _followed(server, server.find(sent.job), sys.stderr if as_json else sys.stdout)
    if as_json:
        print_json({**about, "code": code})
    return code


def _followed(server: JobServer, job: Job, to: Any) -> int:
    """Shows a job's words until it ends; the exit code of its run. Ctrl-C leaves the job alone."""

    def show(text: str) -> None:
        to.write(text)
        to.flush()

    try:
        ended = server.follow(job, show)
    except KeyboardInterrupt:
        print(f"\n{job.job} goes on; gandist jobs stop {job.job} ends it with a checkpoint", file=sys.stderr)
        raise
    if ended.status == "FAILED" and ended.exit_code is None:
        print(ended.message, file=sys.stderr)
    print(f"{ended.job} is {ended.status.lower()}", file=sys.stderr)
    return ended.code


def _as_dict(job: Job) -> dict[str, Any]:
    return {
        "job": job.job,
        "run": job.run,
        "status": job.status,
        "exit_code": job.code if job.over else None,
        "started": job.started,
        "ended": job.ended,
        "storage": job.about.get("gandist_storage", ""),
        "gandist": job.about.get("gandist_version", ""),
        # Ray repeats the end of the log here.
        "message": job.message.partition("\n")[0].removesuffix(", last available logs (truncated to 20,000 chars):"),
    }


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}"
