"""The machines that tests of failures are made with do what is said of them, and leave nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines import Machines, Unavailable, address
from tests.processes import descendants

SERVE = """
import socket, sys
server = socket.create_server(("", int(sys.argv[1])))
print("up", flush=True)
while True:
    server.accept()
"""
CALL = "import socket, sys\nsocket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2).close()"
HOLD = """
import sys
from pathlib import Path
from tests.machines import Machines
with Machines(Path(sys.argv[1]), {}) as machines:
    machines.switch_on("h1")
    machines.start("h1", "sleep", "1000")
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    try:
        with Machines(tmp_path_factory.mktemp("machines"), {"COLOUR": "red"}) as made:
            for name in ("h1", "h2"):
                made.switch_on(name)
            yield made
    except Unavailable as reason:
        pytest.skip(str(reason))


def serve(machines: Machines, name: str, port: int = 7) -> subprocess.Popen[str]:
    server = machines.start(name, sys.executable, "-c", SERVE, str(port), stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == "up\n"
    return server


def reaches(machines: Machines, name: str, port: int = 7) -> bool:
    return machines.run("h1", sys.executable, "-c", CALL, name, str(port)).returncode == 0


def test_a_machine_has_a_name_an_address_and_files_of_its_own(machines: Machines, tmp_path: Path):
    (tmp_path / "common").write_text("seen")
    said = machines.run("h2", "sh", "-c", 'hostname; echo "$COLOUR"; ip -br addr show eth0; cat common', cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    name, colour, link, common = said.stdout.splitlines()
    assert (name, colour, common) == ("h2", "red", "seen")
    assert f"{address('h2')}/24" in link
    for place in ("/tmp/ray", "/dev/shm"):
        assert machines.run("h1", "touch", f"{place}/machine-test").returncode == 0
        assert machines.run("h2", "test", "-e", f"{place}/machine-test").returncode == 1
        assert not Path(place, "machine-test").exists()
    # Its own processes and no others.
    assert len(machines.run("h2", "sh", "-c", "ls -d /proc/[0-9]*").stdout.split()) < 6


def test_cables_are_cut_and_healed_and_power_fails(machines: Machines):
    serve(machines, "h2")
    assert reaches(machines, "h2")
    machines.cut("h2")
    assert not reaches(machines, "h2")
    machines.heal("h2")
    assert reaches(machines, "h2")
    server = serve(machines, "h1")
    assert reaches(machines, "h1")
    machines.switch_off("h1")
    assert server.wait(timeout=5) == -signal.SIGKILL
    machines.switch_on("h1")
    assert not reaches(machines, "h1")
    assert reaches(machines, "h2")


def test_a_slow_cable(machines: Machines):
    serve(machines, "h2", port=8)
    try:
        machines.slow("h2", "loss", "100%")
    except Unavailable as reason:
        pytest.skip(str(reason))
    assert not reaches(machines, "h2", port=8)
    machines.slow("h2")
    assert reaches(machines, "h2", port=8)


def test_nothing_outlives_a_killed_test(tmp_path: Path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    owner = subprocess.Popen(command, text=True, cwd=Path(__file__).parents[1], **pipes)
    assert owner.stdout is not None
    assert owner.stderr is not None
    if owner.stdout.readline() != "up\n":
        owner.wait()
        pytest.skip(owner.stderr.read().splitlines()[-1])
    left = descendants(owner.pid)
    assert len(left) >= 6
    owner.kill()
    owner.wait()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in left):
        assert time.monotonic() < deadline, "processes of a machine are still there"
        time.sleep(0.05)
