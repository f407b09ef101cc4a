"""What every node of the joined cluster has: versions of gandist, torch, Ray, Python and the plugins, and its GPUs."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gandist.contract.discovery import installed
from gandist.launch.versions import versions

ANSWER = 60.0
"""Seconds within which a node must answer; it may have to start a process and import torch first."""


@dataclass(frozen=True)
class NodeReport:
    """One alive node of the cluster.

    node: Ray's id of it. address: its IP address. versions: distribution → version, with "python" among them; what the
    node lacks is not there. broken: plugin → why it could not be loaded. cuda, nccl: what torch was built with, empty
    for CPU builds. driver: of the GPUs, empty without any. devices: names of the GPUs. interfaces: of its network.
    error: why the node could not be examined; then the rest of what it would have said is empty.
    """

    node: str
    host: str
    address: str
    cpus: float
    gpus: float
    versions: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    cuda: str = ""
    nccl: str = ""
    driver: str = ""
    devices: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    error: str = ""

    @property
    def title(self) -> str:
        """Host name and address."""
        return self.address if self.host in ("", self.address) else f"{self.host} ({self.address})"


def examine_nodes() -> list[NodeReport]:
    """Asks every alive node of the cluster that this process has joined, the head first.

    Each answers from a task without CPUs, in the runtime environment of this job. A node without gandist answers too.
    """
    nodes = alive_nodes()
    answers = on_every_node(nodes, _looker(), ANSWER)
    return [_report(node, answer) for node, answer in zip(nodes, answers, strict=True)]


def alive_nodes() -> list[dict[str, Any]]:
    """Ray's own words on its nodes that are alive, the head first, the others by address."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    return sorted(alive, key=lambda node: (not _is_head(node), node["NodeManagerAddress"]))


def _is_head(node: dict[str, Any]) -> bool:
    return any(name.startswith("node:__internal_head__") for name in node["Resources"])


def on_every_node(
    nodes: Sequence[dict[str, Any]], function: Callable[..., Any], seconds: float, *arguments: Any
) -> list[Any]:
    """What `function(*arguments)` returns on each of the nodes, or the exception that kept it from returning.

    function: one that was defined inside another function, so that it travels by value: the node may lack gandist, or
    have another version of it.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(function)
    answers = [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(*arguments)
        for node in nodes
    ]
    ray.wait(answers, num_returns=len(answers), timeout=seconds)
    return [_answer(answer) for answer in answers]


def _answer(reference: Any) -> Any:
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    try:
        return ray.get(reference, timeout=0.1)
    except GetTimeoutError:
        ray.cancel(reference, force=True)
        return TimeoutError("gave no answer in time")
    except RayError as error:
        return error


def _looker() -> Callable[[], dict[str, Any]]:
    def look() -> dict[str, Any]:
        import platform
        import shutil
        import socket
        import subprocess
        from importlib.metadata import PackageNotFoundError, version

        found: dict[str, Any] = {"host": socket.gethostname(), "versions": {"python": platform.python_version()}}
        for name in ("gandist", "torch", "ray"):
            try:
                found["versions"][name] = version(name)
            except PackageNotFoundError:
                continue
        found["interfaces"] = tuple(name for _, name in socket.if_nameindex())
        try:
            from gandist.contract.discovery import installed
        except ImportError as error:
            found["broken"] = {"gandist": str(error)}
        else:
            plugins = installed().plugins
            found["versions"] |= {plugin.distribution: plugin.version for plugin in plugins}
            found["broken"] = {plugin.name: plugin.error for plugin in plugins if plugin.error}
        try:
            import torch
            import torch.cuda.nccl

            found["cuda"] = torch.version.cuda or ""
            found["nccl"] = ".".join(map(str, torch.cuda.nccl.version())) if torch.version.cuda else ""
        except Exception as error:
            found["broken"]["torch"] = f"{type(error).__name__}: {error}"
        # Not by torch: Ray hides the GPUs from a task that asks for none.
        if shutil.which("nvidia-smi"):
            command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
            said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
            rows = [[cell.strip() for cell in line.split(",")] for line in said.splitlines() if "," in line]
            found["devices"] = tuple(name for name, _ in rows)
            found["driver"] = rows[0][1] if rows else ""
        return found

    return look


def _report(node: dict[str, Any], answer: Any) -> NodeReport:
    have = node["Resources"]
    known = {
        "node": node["NodeID"],
        "host": node["NodeManagerHostname"],
        "address": node["NodeManagerAddress"],
        "cpus": have.get("CPU", 0.0),
        "gpus": have.get("GPU", 0.0),
    }
    if isinstance(answer, Exception):
        return NodeReport(**known, error=(str(answer).strip() or type(answer).__name__).splitlines()[-1].strip())
    return NodeReport(**{**known, **answer})


def versions_here() -> dict[str, str]:
    """What `NodeReport.versions` would be for this process."""
    return {"python": platform.python_version(), **versions()}


def differences(report: NodeReport, wanted: dict[str, str]) -> list[str]:
    """How a node differs from the versions that are wanted there, one line a difference; [] if it does not.

    A patch release of Python is no difference, nor is what the node has beyond `wanted`, nor a plugin that cannot be
    loaded here either.
    """
    if report.error:
        return [f"could not be examined: {report.error}"]
    told = []
    for name, version in wanted.items():
        there = report.versions.get(name)
        if there is None:
            told.append(f"has no {name} (here {version})")
        elif series(name, there) != series(name, version):
            told.append(f"has {name} {there} (here {version})")
    here = {plugin.name for plugin in installed().broken}
    return told + [f"cannot load {name}: {error}" for name, error in report.broken.items() if name not in here]


def series(name: str, version: str) -> str:
    """What must agree of a version: of Python's not the patch release."""
    return version.rpartition(".")[0] if name == "python" else version
