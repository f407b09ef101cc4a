"""The Slurm script on two hosts, with the real `ray symmetric-run` and an `srun` that starts its command on both."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.machines import Machines, Unavailable

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "cluster" / "slurm.sh"
SCONTROL = """#!/bin/bash
[ "$1" = show ] && printf '%s\\n' h1 h2
"""
SRUN = """#!/bin/bash
if [ "$1" = --nodes=1 ]; then
    hostname -I
    exit
fi
while [[ "$1" == --* ]]; do shift; done
{ export -p; printf '%q ' "$@"; echo; } > "$SHARE/task.new"
mv "$SHARE/task.new" "$SHARE/task"
exec "$@"
"""


def test_a_slurm_job_trains_on_all_of_its_nodes(tmp_path: Path):
    config = {
        "dataset": {"name": "digits", "size": 16},
        "architecture": {"name": "dcgan", "width": 8, "latent": 16, "norm": "spectral"},
        "loss": {"name": "non-saturating"},
        "train": {"images": 16 * 20, "batch_size": 16, "log_every": 10},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    for name, text in (("scontrol", SCONTROL), ("srun", SRUN)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    job = {
        "PATH": f"{tmp_path}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "SHARE": str(tmp_path),
        "VENV": str(Path(sys.executable).parents[1]),
        "STORAGE": str(tmp_path / "runs"),
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NODELIST": "h[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "1",
    }
    machines = Machines(tmp_path / "machines", job)
    try:
        machines.__enter__()
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        for name in ("h1", "h2"):
            machines.switch_on(name)
        with (tmp_path / "log").open("w") as log:
            batch = machines.start("h1", "bash", str(SCRIPT), "small.yaml", cwd=tmp_path, stdout=log, stderr=log)
            deadline = time.monotonic() + 30
            while not (tmp_path / "task").exists():
                assert batch.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            other = machines.start("h2", "bash", str(tmp_path / "task"), cwd=tmp_path, stdout=log, stderr=log)
            assert batch.wait(timeout=180) == 0, (tmp_path / "log").read_text()
            assert other.wait(timeout=60) == 0, (tmp_path / "log").read_text()
    finally:
        machines.__exit__()
    assert "20 steps on 2 workers" in (tmp_path / "log").read_text()
    assert json.loads((tmp_path / "runs" / "small" / "result.json").read_text())["steps"] == 20
