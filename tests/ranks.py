"""Runs the real training loop on several real processes, joined by gloo, without Ray.

As a script (`python tests/ranks.py SPEC.json`) it trains one run and can be killed; as a module it gives tests
`train_on_ranks`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from gandist.config.resolve import resolve
from gandist.errors import GandistError
from gandist.launch.watching import Watchers
from gandist.training.loop import train
from gandist.training.mirror import Mirror
from gandist.training.surroundings import Surroundings

# The ranks are forks of one process that has imported all this, which takes longer than most of these runs.
multiprocessing.set_forkserver_preload(
    [
        "gandist.launch.watching",
        "gandist.training.loop",
        *(point.module for point in distribution("gandist").entry_points),
    ]
)

DTYPES = {"fp32": torch.float32, "fp64": torch.float64}


def _train_one(rank: int, world: int, spec: dict[str, Any]) -> None:
    config = resolve(spec["config"])
    folder = Path(spec["folder"])
    folder.mkdir(parents=True, exist_ok=True)

    def watch(run):
        return Watchers(config, run, "rank 0", warn=print).announce

    def post(phase: str, step: int, images: int) -> None:
        if phase == "training" and step == spec.get("die_at"):
            os.kill(os.getpid(), signal.SIGKILL)

    mirror = Mirror(spec["url"]) if "url" in spec else None
    work = folder / f"rank-{rank}" if mirror else folder
    work.mkdir(exist_ok=True)
    around = Surroundings(
        folder=work,
        rank=rank,
        world=world,
        dtype=DTYPES[spec.get("dtype", "fp32")],
        watch=watch,
        warn=print,
        post=post,
        mirror=mirror,
    )
    try:
        train(config, config.dataset.open(), around)
        if mirror and rank == 0:
            mirror.put_changed(work, everything=True)
    except GandistError as error:
        (folder / f"error-{rank}.txt").write_text(str(error))


def on_ranks(world: int, work: Callable[..., None], *arguments: Any) -> None:
    """Calls `work(rank, *arguments)` in `world` processes; raises what torch's spawn does if one of them fails."""
    mp.start_processes(_as_here, (dict(os.environ), work, arguments), nprocs=world, start_method="forkserver")


def _as_here(rank: int, environment: dict[str, str], work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    # The process that is forked is as old as its first use.
    os.environ.clear()
    os.environ.update(environment)
    work(rank, *arguments)


def _process(rank: int, world: int, meeting: str, specs: list[dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    for spec in specs:
        _train_one(rank, world, spec)
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()
        # Without the interpreter's teardown, in which a thread of gloo that still runs aborts the process now and then.
        sys.stdout.flush()
        os._exit(0)


def train_on_ranks(world: int, specs: list[dict[str, Any]]) -> None:
    """Trains every spec {"config", "folder", "dtype", "die_at", "url"} in turn on `world` processes, or in this one.

    die_at: the step after which every rank kills itself without warning; raises ProcessExitedException then.
    url: of the run on object storage; every rank then works in a folder of its own below `folder`.
    """
    if world == 1:
        threads = torch.get_num_threads()
        _process(0, 1, "", specs)
        torch.set_num_threads(threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        on_ranks(world, _process, world, f"{folder}/meeting", specs)


def start(world: int, spec: dict[str, Any], scratch: Path) -> subprocess.Popen[bytes]:
    """Starts one run in a process tree of its own; `kill_tree` ends it without warning."""
    path = scratch / f"spec-{world}.json"
    path.write_text(json.dumps({"world": world, "meeting": str(scratch / f"meeting-{time.time_ns()}"), **spec}))
    return subprocess.Popen([sys.executable, __file__, str(path)], start_new_session=True)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of every process of the tree."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    if given["world"] == 1:
        _process(0, 1, "", [given])
    else:
        mp.spawn(_process, (given["world"], given["meeting"], [given]), nprocs=given["world"])
