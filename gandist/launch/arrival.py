"""Whether every node of a cluster has what a run needs, in the same versions, asked before the run begins there."""

from __future__ import annotations

import json
import os
import platform
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from gandist.config.schema import Config
from gandist.errors import ConfigError
from gandist.launch import nodes
from gandist.launch.shipping import used
from gandist.launch.wheel import public

MANIFEST = "GANDIST_NEEDS"
"""The variable in which `gandist submit` tells its job what the run needs."""


@dataclass(frozen=True)
class Need:
    """A distribution that must be there. brings: what the config uses of it. shipped: it came with the job."""

    name: str
    version: str
    brings: str = ""
    shipped: bool = False
    pip: tuple[str, ...] = ()
    """Its requirements that gandist itself does not bring, as pip reads them."""


def write_manifest(needs: list[Need]) -> str:
    """The needs as text, for the environment of a job."""
    return json.dumps([asdict(need) for need in needs])


def _manifest() -> list[Need]:
    return [Need(**{**one, "pip": tuple(one["pip"])}) for one in json.loads(os.environ.get(MANIFEST, "[]"))]


def require_here() -> None:
    """Raises ConfigError if this process is a job's driver and its node lacks what was submitted with it."""
    needs = _manifest()
    problems = _problems(_look(_asked(needs)), needs)
    if problems:
        raise ConfigError(_report([(socket.gethostname(), problem) for problem in problems]))


def require_everywhere(config: Config) -> None:
    """Asks every node of the cluster that this process has joined. Raises ConfigError that lists all that differs."""
    needs = needs_of(config)
    alive = nodes.alive_nodes()
    answers = nodes.on_every_node(alive, _looker(), nodes.ANSWER, _asked(needs))
    found = []
    for node, answer in zip(alive, answers, strict=True):
        address = node["NodeManagerAddress"]
        if isinstance(answer, Exception):
            why = (str(answer).strip() or type(answer).__name__).splitlines()[-1].strip()
            found.append((address, f"could not be asked what it has: {why}"))
            continue
        title = address if answer["host"] == address else f"{answer['host']} ({address})"
        found += [(title, problem) for problem in _problems(answer, needs)]
    if found:
        raise ConfigError(_report(found))


def needs_of(config: Config) -> list[Need]:
    """What every node must have: what this process runs with, as far as the config uses it."""
    submitted = {need.name: need for need in _manifest()}
    needs = [Need("python", platform.python_version()), Need("torch", version("torch"))]
    for name, one in used(config).items():
        known = submitted.get(name)
        if known is None:
            known = Need(name, one.distribution.version, ", ".join(one.parts), pip=pip_of(one.distribution.requires))
        needs.append(known)
    return needs


def pip_of(requires: list[str] | None) -> tuple[str, ...]:
    """The requirements that come without an extra, as pip reads them."""
    from packaging.requirements import Requirement

    found = [Requirement(line) for line in requires or ()]
    kept = [one for one in found if one.url is None and (one.marker is None or one.marker.evaluate({"extra": ""}))]
    return tuple(str(one).partition(";")[0].strip() for one in kept)


def _asked(needs: list[Need]) -> dict[str, tuple[str, ...]]:
    return {need.name: need.pip for need in needs}


def _looker() -> Callable[[Mapping[str, tuple[str, ...]]], dict[str, Any]]:
    def look(asked: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
        # Imports nothing of gandist, torch or a plugin: it may be asked of a node that lacks them, and takes no time.
        import platform
        import socket
        from importlib.metadata import PackageNotFoundError, version

        from packaging.requirements import Requirement

        found: dict[str, Any] = {"host": socket.gethostname(), "versions": {}, "lacks": {}}
        for name, requirements in asked.items():
            try:
                found["versions"][name] = platform.python_version() if name == "python" else version(name)
            except PackageNotFoundError:
                continue
            lacks = []
            for line in requirements:
                requirement = Requirement(line)
                try:
                    met = requirement.specifier.contains(version(requirement.name), prereleases=True)
                except PackageNotFoundError:
                    met = False
                if not met:
                    lacks.append(line)
            found["lacks"][name] = lacks
        return found

    return look


def _look(asked: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    return _looker()(asked)


def _problems(seen: Mapping[str, Any], needs: list[Need]) -> list[str]:
    told = []
    for need in needs:
        there = seen["versions"].get(need.name)
        brings = f", which brings {need.brings}" if need.brings else ""
        what = f"{'' if need.name in ('python', 'torch', 'gandist') else 'plugin '}{need.name}"
        if there is None:
            told.append(f"lacks {what} {need.version}{brings}; {_remedy(need)}")
        elif not _same(need, there):
            told.append(f"has {what} {there}, not {need.version}{brings}; {_remedy(need)}")
        elif lacks := seen["lacks"].get(need.name):
            listed = ", ".join(f"'{line}'" for line in lacks)
            told.append(
                f"lacks {', '.join(lacks)}, which {what} requires; install it there, or submit with "
                f"--runtime-env FILE, where FILE holds pip: [{listed}]"
            )
    return told


def _same(need: Need, there: str) -> bool:
    if need.name == "torch":
        # A head without GPUs may have another build of the same version.
        return need.version.partition("+")[0] == there.partition("+")[0]
    # A node may have been given the wheel of the same version that an earlier job packed.
    if nodes.series(need.name, there) == nodes.series(need.name, need.version):
        return True
    return not need.shipped and public(there) == public(need.version)


def _remedy(need: Need) -> str:
    if need.name in ("python", "torch"):
        return "give all nodes the same, for instance by one image"
    if need.shipped:
        return "it was shipped with the job, so another package of that name hides it there: remove that one"
    return "install that version there, or let `gandist submit` ship it (without --no-ship)"


def _report(found: list[tuple[str, str]]) -> str:
    width = max(len(node) for node, _ in found)
    count = f"{len(found)} problem{'s' if len(found) != 1 else ''}"
    return "\n".join(
        [f"the cluster has not what the run needs: {count}"]
        + [f"  node {node:<{width}}   {problem}" for node, problem in found]
    )
