"""How the nodes of a cluster differ, and how well they reach each other, their storage and the time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from gandist.config.storage import is_url, require_no_credentials, shown
from gandist.errors import ConfigError
from gandist.launch.doctor import Finding
from gandist.launch.nodes import NodeReport, alive_nodes, differences, examine_nodes, versions_here
from gandist.launch.probe import LARGE, MEET, PINGS, SMALL, Clock, Exchange, clock, start_probes

SECONDS = 10.0
"""How long the nodes exchange numbers."""
WRITTEN = 16 * 2**20
"""Bytes that each node writes to the storage."""
SKEW = 1.0
"""Seconds by which a clock may be wrong: locks and time limits compare clocks of several nodes."""
ANSWER = 60.0
"""Seconds within which a probe must answer."""
_SAME = "install the same there: pip install -c constraints.txt …, in the environment in which `ray start` is typed"

Tell = Callable[[str], None]


def examine_cluster(address: str, storage: str, interface: str | None, tell: Tell) -> list[Finding]:
    """Joins the cluster and looks at its nodes.

    storage: `cluster.storage` as a run would get it. interface: of the network, as `cluster.interface`. tell: shows
    what is being done. Raises ConfigError if no cluster answers at `address`, or for a URL with credentials.
    """
    from gandist.launch.ray_cluster import joined_ray

    if is_url(storage):
        try:
            require_no_credentials(storage)
        except ValueError as error:
            raise ConfigError(f"--storage: {error}") from None
    with joined_ray(address):
        tell("asking every node for its versions")
        reports = examine_nodes()
        return [*_nodes(address, reports), *_probed(reports, storage, interface, tell)]


def _nodes(address: str, reports: list[NodeReport]) -> Iterator[Finding]:
    cpus, gpus = (sum(getattr(report, kind) for report in reports) for kind in ("cpus", "gpus"))
    facts = {"cpus": cpus, "gpus": gpus, "nodes": len(reports)}
    yield Finding("cluster", True, f"{address}: {len(reports)} nodes, {cpus:g} CPUs, {gpus:g} GPUs", facts=facts)
    wanted = versions_here()
    for report in reports:
        wrong = differences(report, wanted)
        yield Finding(f"node {report.title}", not wrong, _told(report, wrong), _SAME if wrong else "", vars(report))
    for name, kind in (("CUDA of torch", "cuda"), ("NCCL", "nccl"), ("GPU driver", "driver")):
        yield from _one_version(name, {r.title: getattr(r, kind) for r in reports if r.gpus and not r.error})


def _told(report: NodeReport, wrong: list[str]) -> str:
    what = [f"{report.cpus:g} CPUs", f"{report.gpus:g} GPUs{_in_brackets(report.devices)}"]
    if wrong:
        return f"{', '.join(what)}; {'; '.join(wrong)}"
    what += [f"{name} {version}" for name, version in report.versions.items()]
    what += [f"CUDA {report.cuda}, NCCL {report.nccl}"] if report.cuda else []
    return ", ".join(what)


def _in_brackets(devices: tuple[str, ...]) -> str:
    return f" ({', '.join(sorted(set(devices)))})" if devices else ""


def _one_version(name: str, found: dict[str, str]) -> Iterator[Finding]:
    """Nodes with GPUs must agree on it."""
    if len(set(found.values())) > 1:
        detail = "; ".join(f"{node}: {version or 'none'}" for node, version in found.items())
        yield Finding(name, False, f"not the same on all nodes: {detail}", _SAME, {"versions": found})


def _probed(reports: list[NodeReport], storage: str, interface: str | None, tell: Tell) -> Iterator[Finding]:
    """Clocks and storage of all nodes that answered; the exchange among those that may get workers."""
    answered = {report.node: report for report in reports if not report.error}
    nodes = [node for node in alive_nodes() if node["NodeID"] in answered]
    titles = [answered[node["NodeID"]].title for node in nodes]
    probes = start_probes(nodes, gpu=False)
    tell("comparing clocks")
    yield from map(_clock, titles, _clocks(probes))
    tell(f"writing to {shown(storage) if is_url(storage) else storage} from every node")
    yield from _storage(probes, titles, storage)
    able = [node for node in nodes if (report := answered[node["NodeID"]]).cpus or report.gpus]
    with_torch = [node for node in able if "torch" in answered[node["NodeID"]].versions]
    if len(with_torch) < 2:
        yield Finding(
            "exchange between nodes", True, f"{len(with_torch)} node that may get workers: nothing to measure"
        )
        return
    yield _exchange(with_torch, probes, nodes, interface, tell)


def _clocks(probes: list[Any]) -> list[Clock | Exception]:
    import ray

    found: list[Clock | Exception] = []
    for probe in probes:
        pings = []
        try:
            ray.get(probe.now.remote(), timeout=ANSWER)
            for _ in range(PINGS):
                before = time.time()
                there = ray.get(probe.now.remote(), timeout=ANSWER)
                pings.append((before, there, time.time()))
            found.append(clock(pings))
        except Exception as error:
            found.append(error)
    return found


def _clock(title: str, found: Clock | Exception) -> Finding:
    name = f"clock of {title}"
    if isinstance(found, Exception):
        return Finding(name, False, f"no answer: {_last_line(found)}", "is the node up (ray status)?")
    ok = abs(found.ahead) - found.error < SKEW
    side = "ahead of" if found.ahead >= 0 else "behind"
    detail = f"{abs(found.ahead) * 1000:.1f} ms {side} this one, ± {found.error * 1000:.1f} ms"
    return Finding(
        name, ok, detail, "" if ok else "start a time service there (chrony, systemd-timesyncd)", vars(found)
    )


def _storage(probes: list[Any], titles: list[str], storage: str) -> Iterator[Finding]:
    """Every node writes a file, and then must see those of all others."""
    import ray

    place = storage if is_url(storage) else str(Path(storage).absolute())
    folder = f".gandist-doctor-{secrets.token_hex(6)}"
    names = [f"{folder}/{number}" for number in range(len(probes))]
    fix = "give all nodes the same shared folder, or a bucket, as cluster.storage (doctor: --storage)"
    written = [_answer(probe.write.remote(place, name, WRITTEN)) for probe, name in zip(probes, names, strict=True)]
    expected = {name for name, seconds in zip(names, written, strict=True) if isinstance(seconds, float)}
    for probe, title, seconds in zip(probes, titles, written, strict=True):
        name = f"storage from {title}"
        if isinstance(seconds, Exception):
            yield Finding(name, False, f"{shown(place) if is_url(place) else place}: {_last_line(seconds)}", fix)
            continue
        seen = _answer(probe.seen.remote(place, folder))
        missing = [titles[names.index(one)] for one in sorted(expected - set(seen if isinstance(seen, list) else ()))]
        speed = WRITTEN / seconds
        facts = {"seconds": seconds, "bytes_per_second": speed, "missing": missing}
        detail = f"{WRITTEN / 2**20:.0f} MiB written at {speed / 1e6:.0f} MB/s"
        if missing:
            detail += f"; does not see what {', '.join(missing)} wrote: another storage under the same name"
        yield Finding(name, not missing, detail, fix if missing else "", facts)
    for probe in probes:
        with suppress(Exception):
            ray.get(probe.clear.remote(place, folder), timeout=ANSWER)


def _exchange(
    able: list[dict[str, Any]], probes: list[Any], nodes: list[dict[str, Any]], interface: str | None, tell: Tell
) -> Finding:
    """An all-reduce among one process on each node, on GPUs where every node has a free one."""
    import ray

    name = "exchange between nodes"
    chosen = [probes[nodes.index(node)] for node in able]
    backend, note = "gloo", ""
    if all(node["Resources"].get("GPU") for node in able):
        on_gpus = start_probes(able, gpu=True)
        ready, _ = ray.wait([probe.now.remote() for probe in on_gpus], num_returns=len(able), timeout=ANSWER)
        if len(ready) == len(able):
            chosen, backend = on_gpus, "nccl"
        else:
            note = "; GPUs are in use, so through gloo"
    tell(f"all-reduce among {len(able)} nodes, {SECONDS:.0f} s")
    at = ray.get(chosen[0].place.remote(), timeout=ANSWER)
    limits = (MEET, LARGE, SMALL)
    running = [
        probe.exchange.remote(rank, len(chosen), at, backend, interface, SECONDS, limits)
        for rank, probe in enumerate(chosen)
    ]
    ray.wait(running, num_returns=len(running), timeout=MEET + 3 * SECONDS)
    answers = [_answer(one, timeout=0.1) for one in running]
    failed = [answer for answer in answers if isinstance(answer, Exception)]
    if failed:
        fix = "open all ports between the nodes; name the network that joins them with --interface (cluster.interface)"
        return Finding(name, False, f"{backend}, {len(able)} nodes: {_last_line(failed[0])}", fix)
    latency, bandwidth = (max(a[0] for a in answers), min(a[1] for a in answers))
    detail = (
        f"{backend}, {len(able)} nodes: all-reduce of {SMALL} bytes in {latency * 1e6:.0f} µs, of {LARGE / 2**20:.0f} "
        f"MiB at {bandwidth / 1e6:.0f} MB/s{note}"
    )
    return Finding(name, True, detail, facts=vars(Exchange(backend, len(able), latency, bandwidth)))


def _answer(reference: Any, timeout: float = ANSWER) -> Any:
    """What an actor returned, or the exception that kept it from it."""
    import ray

    try:
        return ray.get(reference, timeout=timeout)
    except Exception as error:
        return error


def _last_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
