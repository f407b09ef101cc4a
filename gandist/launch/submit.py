"""Sends a run to a Ray cluster as a job: checked here, with the code that the nodes lack, under the run's name."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gandist
from gandist.config.compose import compose
from gandist.config.yaml import read_value, read_yaml, write_yaml
from gandist.errors import ConfigError
from gandist.launch.arrival import MANIFEST, Need, pip_of, write_manifest
from gandist.launch.job_server import JOB, SUBMITTED, Job, JobServer
from gandist.launch.portable import Portable, portable
from gandist.launch.shipping import Used, brought_along, pack_all, used
from gandist.launch.stopping import WAIT
from gandist.launch.wheel import Wheel

CONFIG = "config.yaml"
LEAVING = 300
"""Seconds beyond `cluster.timeout` that a stopped run has for its checkpoint before Ray kills it."""
_ABOUT = "gandist_"
"""How all keys begin that are written into a job's metadata."""


@dataclass(frozen=True)
class Options:
    """How a config is submitted. ship: whether code travels. environment: file for Ray's runtime environment.

    variables: NAME, whose value is taken from here, or NAME=VALUE. fresh: as for `gandist train`.
    """

    ship: bool = True
    environment: dict[str, Any] | None = None
    variables: tuple[str, ...] = ()
    fresh: bool = False


@dataclass(frozen=True)
class Submitted:
    """A job that was sent. shipped: wheels that travel with it."""

    job: str
    run: str
    folder: str
    address: str
    shipped: tuple[Wheel, ...]
    warnings: tuple[str, ...]


def submit(what: Portable, server: JobServer, options: Options) -> Submitted:
    """Packs what the nodes lack, and sends the job. Raises ConfigError for what cannot be packed or is refused."""
    config = what.config
    plain, name = config.model_dump(mode="json"), config.run.name
    text, found = write_yaml(plain), used(config)
    job = f"{name}-{secrets.token_hex(3)}"
    variables = _variables(options.variables)
    _require_free(server, name, config.cluster.storage)
    with tempfile.TemporaryDirectory(prefix="gandist-submit-") as scratch:
        folder = Path(scratch) / "job"
        folder.mkdir()
        (folder / CONFIG).write_text(text, encoding="utf-8")
        wheels = pack_all(found, Path(scratch)) if options.ship else []
        needs = _needs(found, wheels)
        environment = dict(options.environment or {})
        environment["working_dir"] = str(folder)
        packages = [server.hold(wheel.path) for wheel in wheels]
        if modules := [*packages, *environment.get("py_modules", [])]:
            environment["py_modules"] = modules
        environment["env_vars"] = {
            # Ray kills a stopped job after 3 s by default, which is too soon for a checkpoint.
            WAIT: str(config.cluster.timeout + LEAVING),
            **environment.get("env_vars", {}),
            **variables,
            JOB: job,
            MANIFEST: write_manifest(needs),
        }
        fresh = " --fresh" if options.fresh else ""
        about = {
            "job_name": name,
            SUBMITTED: name,
            f"{_ABOUT}version": gandist.__version__,
            f"{_ABOUT}storage": config.cluster.storage,
            f"{_ABOUT}config": text,
            f"{_ABOUT}versions": json.dumps({need.name: need.version for need in needs}),
            **_kept(options),
        }
        with server.answering(), _understood():
            server.client.submit_job(
                # Without a shell in between, which would get the signal to stop as well.
                entrypoint=f"exec python -m gandist train {CONFIG} --address auto{fresh}",
                submission_id=job,
                runtime_env=environment,
                metadata=about,
            )
    place = config.cluster.storage.partition("?")[0].rstrip("/")
    return Submitted(job, name, f"{place}/{name}", server.address, tuple(wheels), what.warnings)


def resume(job: Job, server: JobServer, overrides: Sequence[str], options: Options) -> Submitted:
    """Sends the config of a job that has ended once more; the run folder goes on from its newest checkpoint.

    Code is packed anew from what is installed here. Raises ConfigError while the job still runs.
    """
    if not job.over:
        raise ConfigError(f"{job.job} is {job.status.lower()}; gandist jobs stop {job.job} ends it with a checkpoint")
    text = job.about.get(f"{_ABOUT}config")
    if text is None:
        raise ConfigError(f"{job.job} holds no config; submit its config file again")
    composed = compose(read_value(text, job.job), overrides)
    composed.title = job.job
    found = portable(composed)
    name = found.config.run.name
    if name != job.run:
        raise ConfigError(f"run.name: is {name}, but {job.job} is a job of run {job.run}; submit that anew")
    before = json.loads(job.about.get(f"{_ABOUT}versions", "{}"))
    if options.environment is None:
        options = _again(options, job.about)
    sent = submit(found, server, options)
    now = {wheel.name: wheel.version for wheel in sent.shipped}
    changed = [f"{name} was {before[name]} and is {now[name]} now" for name in now if before.get(name) != now[name]]
    return Submitted(**{**vars(sent), "warnings": (*sent.warnings, *(c for c in changed if before))})


def read_environment(path: Path) -> dict[str, Any]:
    """Ray's runtime environment from a YAML file. Raises ConfigError for what would get into the way of gandist's."""
    found = read_yaml(path).mapping
    if "working_dir" in found:
        raise ConfigError(
            f"{path}: working_dir: the config travels as the job's working directory; put code into a plugin package, "
            f"and data where every node sees them (dataset.root)"
        )
    for key, kind in (("env_vars", dict), ("py_modules", list)):
        if not isinstance(found.get(key, kind()), kind):
            raise ConfigError(f"{path}: {key}: should be a {'mapping' if kind is dict else 'list'}, is {found[key]!r}")
    return found


def _kept(options: Options) -> dict[str, str]:
    """What `resume` needs to know of the options. No values of variables: everybody who sees the job sees these."""
    environment = {key: value for key, value in (options.environment or {}).items() if key != "env_vars"}
    names = [one.partition("=")[0] for one in options.variables] + [*(options.environment or {}).get("env_vars", {})]
    return {
        f"{_ABOUT}ship": str(options.ship).lower(),
        f"{_ABOUT}environment": json.dumps(environment or None),
        f"{_ABOUT}variables": json.dumps(names),
    }


def _again(options: Options, about: Mapping[str, str]) -> Options:
    """The options of the first time, where none are given now; values of variables are taken from here."""
    environment = json.loads(about.get(f"{_ABOUT}environment", "null"))
    variables = options.variables or tuple(json.loads(about.get(f"{_ABOUT}variables", "[]")))
    ship = options.ship and about.get(f"{_ABOUT}ship", "true") == "true"
    return Options(ship, environment, variables, options.fresh)


@contextmanager
def _understood() -> Iterator[None]:
    """What Ray's client finds wrong with a runtime environment is the file's, since gandist's own part is right."""
    try:
        yield
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise ConfigError(f"--runtime-env: {error}") from error


def _require_free(server: JobServer, run: str, storage: str) -> None:
    """Two jobs cannot own one run folder: the second would end with that error on the cluster."""
    for job in server.jobs():
        if not job.over and job.run == run and job.about.get(f"{_ABOUT}storage") == storage:
            raise ConfigError(
                f"run {run} is {job.status.lower()} already, as job {job.job}; watch it with gandist jobs logs "
                f"{job.job} --follow, stop it with gandist jobs stop {job.job}, or give another run.name"
            )


def _needs(found: Mapping[str, Used], wheels: Sequence[Wheel]) -> list[Need]:
    shipped = {wheel.name: wheel.version for wheel in wheels}
    provided = brought_along()
    needs = []
    for name, one in found.items():
        pip = tuple(line for line in pip_of(one.distribution.requires) if not _provided(line, provided))
        version = shipped.get(one.distribution.name, one.distribution.version)
        needs.append(Need(name, version, ", ".join(one.parts), one.distribution.name in shipped, pip))
    return needs


def _provided(line: str, provided: set[str]) -> bool:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    return canonicalize_name(Requirement(line).name) in provided


def _variables(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals and name not in os.environ:
            raise ConfigError(f"--env {name}: is not set here; set it, or write --env {name}=VALUE")
        found[name] = value if equals else os.environ[name]
    return found
