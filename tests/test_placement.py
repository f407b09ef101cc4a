"""Which nodes the workers get, worked out from what nodes have; tests/test_placed_hosts.py does it on hosts."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from typing import Any

import pytest

from gandist.config.schema import Cluster
from gandist.errors import ConfigError
from gandist.launch import placement
from gandist.launch.nodes import NodeReport, differences
from gandist.launch.probe import clock
from gandist.launch.resources import Place, Room, threads


def place(*cpus: float, gpus: float = 0, types: tuple[str, ...] = ()) -> Place:
    return Place("the cluster", tuple(Room(f"h{n}", c, gpus, types) for n, c in enumerate(cpus)))


@pytest.mark.parametrize(
    ("cluster", "gpu", "there", "room"),
    [
        ({}, False, place(0, 4, 4), 8),
        ({"per_node": 3}, False, place(0, 4, 4, 2), 8),
        ({}, True, place(8, 8, gpus=4), 8),
        ({"per_node": 1}, True, place(8, 8, gpus=4), 2),
        ({"accelerator_type": "A100"}, True, place(8, 8, gpus=4, types=("T4",)), 0),
        ({"accelerator_type": "A100"}, True, place(8, gpus=4, types=("A100", "A100-80G")), 4),
    ],
)
def test_room_is_counted_node_by_node(cluster: dict[str, Any], gpu: bool, there: Place, room: int):
    assert there.workers(Cluster.model_validate(cluster), gpu, 1) == room


def test_a_worker_with_more_threads_takes_more_cpus():
    assert place(4, 4, 3).workers(Cluster(threads=2), False, 2) == 5


@pytest.mark.parametrize(
    ("cluster", "gpu", "there", "number"),
    [
        ({"workers": 2}, False, place(8), 4),
        ({"workers": 3}, False, place(8), 2),
        ({"workers": 2}, False, place(8, 2), 4),
        ({"workers": 2, "per_node": 1}, False, place(8, 2), 2),
        ({"workers": 16}, False, place(8), 1),
        ({"workers": "1..4"}, False, place(8), 2),
        ({"workers": "1..64"}, False, place(8), 1),
        ({"workers": 4}, True, place(32, 32, gpus=2), 16),
        ({"workers": 8}, True, place(4, gpus=8), 1),
        ({"workers": 0}, False, place(8), 8),
    ],
)
def test_threads_are_the_most_with_which_all_workers_fit(cluster: dict[str, Any], gpu: bool, there: Place, number: int):
    assert threads(Cluster.model_validate({"threads": "auto", **cluster}), there, gpu) == number


def test_a_run_that_goes_on_keeps_its_threads_while_they_fit():
    auto = Cluster(workers=2, threads="auto")
    assert threads(auto, place(8), False, before=3) == 3
    assert threads(auto, place(4), False, before=3) == 2
    assert threads(Cluster(workers=2, threads=1), place(8), False, before=3) == 1


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("cpus", [1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 64, 96, 128, 192])
def test_a_worker_reserves_what_keeps_others_off_its_node(cpus: int, gpu: bool):
    there = place(cpus, gpus=cpus if gpu else 0)
    for per_node in range(1, cpus + 3):
        cluster = Cluster(per_node=per_node)
        share = placement._bundle(cluster, there, gpu, 1)["CPU"]
        # Ray counts in ten-thousandths.
        assert round(share * placement.GRAIN) == pytest.approx(share * placement.GRAIN, abs=1e-6)
        by_cpus = math.floor(cpus * placement.GRAIN / round(share * placement.GRAIN))
        assert (min(by_cpus, cpus) if gpu else by_cpus) == min(per_node, cpus)


def test_small_nodes_that_would_lose_their_seats_are_told():
    from gandist.config.resolve import resolve

    base = {"run": {"name": "x"}, "dataset": "digits", "architecture": "dcgan", "loss": "non-saturating"}
    config = resolve({**base, "cluster": {"workers": 4, "per_node": 2}})
    there = place(16, 2, 2)
    bundle = placement._bundle(config.cluster, there, False, 1)
    with pytest.raises(ConfigError, match=r"cluster\.per_node: .* h1: 2 CPUs; .* room for 2; .* set it to 1"):
        placement._require_seats(config, there, False, bundle)
    placement._require_seats(config, place(16, 16), False, bundle)


@pytest.mark.parametrize(
    ("wanted", "types", "said"),
    [
        ("A1000", ("T4",), r"did you mean A100\? nodes there have: T4"),
        ("Gaudi9", (), "nodes there have: none"),
    ],
)
def test_an_unknown_accelerator_is_refused_at_once(wanted: str, types: tuple[str, ...], said: str):
    with pytest.raises(ConfigError, match=rf"cluster\.accelerator_type: .*{wanted}.*{said}"):
        placement._require_known_accelerator(Cluster(accelerator_type=wanted), place(8, gpus=1, types=types))


@pytest.mark.parametrize(("wanted", "types"), [("H100", ()), ("my-own", ("my-own",)), (None, ())])
def test_known_accelerators_may_still_come(wanted: str | None, types: tuple[str, ...]):
    placement._require_known_accelerator(Cluster(accelerator_type=wanted), place(8, gpus=1, types=types))


def report(**there: Any) -> NodeReport:
    return NodeReport("id", "h1", "10.0.0.1", 1, 0, **there)


def test_differences_between_nodes_are_named():
    here = {"python": "3.11.7", "gandist": "0.1.0", "ray": "2.60.0", "my-losses": "1.0"}
    same = {**here, "python": "3.11.9", "more": "5"}
    assert differences(report(versions=same), here) == []
    assert differences(report(versions={**here, "python": "3.12.7"}), here) == ["has python 3.12.7 (here 3.11.7)"]
    other = {name: version for name, version in here.items() if name != "my-losses"} | {"ray": "2.51.0"}
    assert differences(report(versions=other), here) == ["has ray 2.51.0 (here 2.60.0)", "has no my-losses (here 1.0)"]
    assert differences(report(versions=here, broken={"mine": "ImportError: x"}), here) == [
        "cannot load mine: ImportError: x"
    ]
    assert differences(report(error="no answer"), here) == ["could not be examined: no answer"]


def test_a_clock_is_read_from_the_quickest_answer():
    pings = [(100.0, 103.0, 101.0), (200.0, 202.51, 200.02), (300.0, 302.9, 300.8)]
    found = clock(pings)
    assert found.ahead == pytest.approx(2.5)
    assert found.error == pytest.approx(0.01)


GPUS = [
    ({"workers": 2}, {"gpu": True, "bundle": {"GPU": 1}, "strategy": "PACK"}),
    ({"workers": 3}, {"gpu": False, "bundle": {"CPU": 1}}),
    ({"workers": 2, "threads": 2, "gpu": False, "placement": "SPREAD"}, {"bundle": {"CPU": 2}, "strategy": "SPREAD"}),
    (
        {"workers": 2, "accelerator_type": "A100", "threads": "auto"},
        {"gpu": True, "bundle": {"GPU": 1, "accelerator_type:A100": 0.001}, "accelerator": "A100", "threads": 2},
    ),
    ({"workers": 1, "per_node": 1, "gpu": True}, {"bundle": {"GPU": 1}, "strategy": "STRICT_SPREAD"}),
    ({"workers": "1..2", "per_node": 1, "gpu": True}, {"bundle": {"GPU": 1, "CPU": 2.0001}, "strategy": "PACK"}),
    ({"workers": 3, "gpu": True}, "3 workers with a GPU each do not fit the cluster at here, which has room for 2"),
    ({"workers": 2, "per_node": 1, "gpu": True}, "at most 1 a node (cluster.per_node) do not fit"),
    ({"workers": 1, "accelerator_type": "H100"}, "1 workers with a GPU H100 each do not fit"),
]
"""Of a node with 4 CPUs and 2 A100: what the config asks for, and the seats or the refusal."""
ON_FAKE_GPUS = """
import json, sys
from dataclasses import asdict
import ray
from gandist.config.resolve import resolve
from gandist.errors import ConfigError
from gandist.launch.placement import take_seats

base = {"run": {"name": "x"}, "dataset": "digits", "architecture": "dcgan", "loss": "non-saturating"}
gpus = {"num_gpus": 2, "resources": {"accelerator_type:A100": 1}}
ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, **gpus)
found = []
for cluster in json.loads(sys.argv[1]):
    try:
        config = resolve({**base, "cluster": cluster})
        found.append(asdict(take_seats(config, "here", None, lambda text: None)))
    except ConfigError as error:
        found.append(str(error))
print(json.dumps(found))
"""


@pytest.mark.slow
def test_gpus_are_asked_for_by_number_and_type():
    """Ray believes in GPUs that it is told of; nothing is computed on them."""
    quiet = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    ended = subprocess.run(
        # What another case has reserved is given back a moment later; a refusal need not be waited for.
        [
            sys.executable,
            "-c",
            ON_FAKE_GPUS,
            json.dumps([{"wait": 0 if isinstance(e, str) else 60, **c} for c, e in GPUS]),
        ],
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    for (cluster, expected), found in zip(GPUS, json.loads(ended.stdout), strict=True):
        if isinstance(expected, str):
            assert expected in found, cluster
        else:
            assert isinstance(found, dict), found
            assert {key: found[key] for key in expected} == expected, cluster
