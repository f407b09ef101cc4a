"""A local run is nobody else's business: nothing of it listens where another machine could connect, and it joins
nothing that it is not told to."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
import yaml

from tests.listening import listeners, outside
from tests.processes import descendants, kill_tree, start, training_workers, wait_for

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def config() -> dict[str, object]:
    return {
        "run": {"name": "quiet"},
        "dataset": {"name": "gaussians"},
        "architecture": {"name": "mlp", "width": 8},
        "loss": "non-saturating",
        "train": {"images": 10_000_000, "batch_size": 8, "log_every": 20, "save_every": 100},
    }


def test_a_listening_socket_is_found():
    with socket.create_server(("0.0.0.0", 0)) as wide, socket.create_server(("127.0.0.1", 0)) as narrow:
        found = listeners([os.getpid()])
        assert {f"0.0.0.0 port {wide.getsockname()[1]}", f"127.0.0.1 port {narrow.getsockname()[1]}"} <= found
        assert f"0.0.0.0 port {wide.getsockname()[1]}" in outside(found)
        assert f"127.0.0.1 port {narrow.getsockname()[1]}" not in outside(found)


@pytest.mark.slow
def test_a_local_run_listens_on_loopback_only(tmp_path: Path):
    (tmp_path / "quiet.yaml").write_text(yaml.safe_dump(config()))
    # A cluster that is not named on the command line is not asked, whatever the user's environment says.
    elsewhere = {"RAY_ADDRESS": "127.0.0.1:9", "RAY_API_SERVER_ADDRESS": "http://127.0.0.1:9"}
    process = start("train", "quiet.yaml", "--workers", "2", cwd=tmp_path, **elsewhere)
    seen: set[str] = set()
    folder = tmp_path / "runs" / "quiet"

    def trains() -> bool:
        # Looked at all the time: what listens for a moment only counts too.
        seen.update(listeners([process.pid, *descendants(process.pid)]))
        return (folder / "checkpoints" / "step-00000200").is_dir()

    try:
        wait_for(trains, process, "a checkpoint")
        assert len(training_workers(process.pid)) == 2
    finally:
        kill_tree(process)
    assert seen, "nothing of Ray was found listening"
    assert outside(seen) == set()
