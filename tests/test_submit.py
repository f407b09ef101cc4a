"""What is wrong with a submission is said here, before anything is sent; and what a node lacks is said there."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from gandist import ConfigError
from gandist.cli import main
from gandist.config.compose import compose
from gandist.config.resolve import resolve
from gandist.launch import arrival, job_server
from gandist.launch.arrival import MANIFEST, Need, require_here, write_manifest
from gandist.launch.board import Board
from gandist.launch.desk import Desk
from gandist.launch.home import Home
from gandist.launch.job_server import Job, JobServer
from gandist.launch.portable import portable
from gandist.launch.run import _watched
from gandist.launch.shipping import used
from gandist.launch.submit import Options, read_environment, resume
from gandist.launch.worker import work_here
from gandist.training.run import RunView

CONFIG = {
    "run": {"name": "sent"},
    "dataset": {"name": "digits"},
    "architecture": {"name": "dcgan", "width": 8},
    "loss": {"name": "non-saturating", "regularizers": [{"name": "r1"}]},
    "cluster": {"storage": "/mnt/runs"},
}


class Impostor(BaseHTTPRequestHandler):
    """Some other server at the address."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def impostor() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Impostor) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def refused(**sections: object) -> str:
    """Why a config is not submitted."""
    with pytest.raises(ConfigError) as error:
        portable(compose({**CONFIG, **sections}))
    return str(error.value)


def test_a_storage_that_no_node_shares_is_refused():
    text = refused(cluster={"storage": "runs"})
    assert "cluster.storage" in text
    assert "'runs' would be a folder of whichever node" in text
    assert "s3://BUCKET/runs" in text


def test_paths_of_this_machine_and_runs_without_workers_are_refused_together(tmp_path: Path):
    text = refused(dataset={"name": "image-folder", "root": "pictures"}, cluster={"storage": "/mnt/runs", "workers": 0})
    assert "2 problems" in text
    assert f"dataset.root      'pictures' is a path of this machine ({Path('pictures').absolute()})" in text
    assert "0 trains in the process of the command" in text


def test_everything_else_is_checked_here_too():
    assert "unknown regularizer 'r3'" in refused(loss={"name": "non-saturating", "regularizers": [{"name": "r3"}]})


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"working_dir": "."}, "working_dir: the config travels as"),
        ({"env_vars": ["A"]}, "env_vars: should be a mapping"),
        ({"py_modules": "x"}, "py_modules: should be a list"),
    ],
)
def test_a_runtime_environment_that_gets_in_the_way_is_refused(tmp_path: Path, content: object, text: str):
    file = tmp_path / "environment.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=text):
        read_environment(file)


def test_a_job_that_runs_is_not_resumed():
    job = Job("sent-1", "sent", "RUNNING", None, 0.0, None, "", {})
    with pytest.raises(ConfigError, match="sent-1 is running; gandist jobs stop sent-1"):
        resume(job, None, [], Options())  # type: ignore[arg-type]


def test_what_a_config_uses_is_found_down_to_its_regularizers():
    found = used(resolve(compose(CONFIG)))
    assert list(found) == ["gandist"]
    assert {"loss 'non-saturating'", "regularizer 'r1'", "dataset 'digits'", "watcher 'console'"} <= {
        *found["gandist"].parts
    }
    example = {**CONFIG, "loss": {"name": "example-least-squares"}}
    found = used(resolve(compose(example)))
    assert found["gandist-example"].parts == ("loss 'example-least-squares'",)
    assert not found["gandist-example"].indexed


@pytest.mark.parametrize(
    ("need", "text"),
    [
        (
            Need("my-losses", "1.0", "loss 'mine'"),
            r"lacks plugin my-losses 1\.0, which brings loss 'mine'; install that version there, or let",
        ),
        (Need("gandist", "99.0"), r"has gandist .*, not 99\.0"),
        (Need("gandist", "99.0+g0123456789ab", shipped=True), "it was shipped with the job, so another package"),
        (Need("pluggy", "*", pip=("pluggy>=99", "torch")), "pluggy"),
    ],
)
def test_what_a_node_lacks_is_named_with_the_node(need: Need, text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(MANIFEST, write_manifest([need]))
    with pytest.raises(ConfigError, match=text) as error:
        require_here()
    assert f"node {socket.gethostname()} " in str(error.value)


def test_a_requirement_that_a_node_lacks_is_named_with_what_to_submit(monkeypatch: pytest.MonkeyPatch):
    import pluggy

    need = Need("pluggy", pluggy.__version__, pip=("pluggy>=99", "torch"))
    monkeypatch.setenv(MANIFEST, write_manifest([need]))
    with pytest.raises(ConfigError, match=r"lacks pluggy>=99, which plugin pluggy requires.* pip: \['pluggy>=99'\]"):
        require_here()


def test_a_node_that_has_everything_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(MANIFEST, write_manifest(arrival.needs_of(resolve(compose(CONFIG)))))
    require_here()
    monkeypatch.delenv(MANIFEST)
    require_here()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--address", "http://127.0.0.1:1"], "--address http://127.0.0.1:1: nothing answers there"),
        (["--address", "127.0.0.1:8265"], "should be http://HEAD:8265"),
        (["--address", "http://user:word@h:1"], "should be http://HEAD:8265"),
        ([], "--address: is missing; give http://HEAD:8265"),
    ],
)
def test_a_server_that_is_not_there_is_one_line_and_2(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
    assert main(["jobs", "list", *arguments]) == 2
    said = capsys.readouterr()
    assert text in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


def test_another_server_is_one_line_and_2(
    impostor: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", impostor)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert main(["jobs", "status", "sent"]) == 2
    said = capsys.readouterr()
    assert "is no job server that answers as Ray's do" in said.err
    assert len(said.err.splitlines()) == 1


def test_a_config_with_mistakes_is_told_before_a_server_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump({**CONFIG, "cluster": {"storage": "here"}}))
    assert main(["submit", str(tmp_path / "bad.yaml"), "--address", "http://127.0.0.1:1"]) == 2
    assert "cluster.storage" in capsys.readouterr().err


def test_a_worker_that_lacks_a_plugin_says_on_which_node(tmp_path: Path):
    """As on a node that came after the others were asked."""
    config = resolve(compose({**CONFIG, "cluster": {"workers": 0}}))
    plain = {**config.model_dump(mode="json"), "loss": {"name": "not-there"}}
    board = Board()
    payload = {"config": plain, "folder": str(tmp_path), "url": None, "cwd": str(tmp_path), "board": board}
    with pytest.raises(ConfigError):
        work_here(payload, gpu=False)
    (cause,) = board.causes
    assert cause.final
    assert cause.text.startswith(f"node {socket.gethostname()}: ")
    assert "unknown loss 'not-there'" in cause.text


def test_a_run_without_workers_stops_at_once(tmp_path: Path):
    """Nobody would take a checkpoint, nor hear that one is asked for."""
    config = resolve(compose({**CONFIG, "tracking": {"console": {"enabled": False}}}))
    facts = config.dataset.open().facts
    desk = Desk(config, RunView("x", "sent", tmp_path, config, facts, 0, None), Home(tmp_path, str(tmp_path)))
    desk.sit(Board())
    never, timer = threading.Event(), threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    try:
        assert _watched(desk, never.wait) == {"step": 0, "stopped": True}
    finally:
        never.set()
        timer.join()


class Flaky:
    """A client of a job server whose connection breaks in the middle of the log."""

    def __init__(self, attempts: list[list[str]]):
        self._attempts = iter(attempts)

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        for text in next(self._attempts):
            if text == "broken":
                raise RuntimeError("WebSocket connection closed unexpectedly")
            yield text

    def get_job_info(self, job: str) -> SimpleNamespace:
        times = {"start_time": 0, "end_time": 1000, "driver_exit_code": 3, "message": "", "metadata": {}}
        return SimpleNamespace(submission_id=job, status="FAILED", **times)


def test_a_log_goes_on_where_the_connection_broke(impostor: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(job_server, "POLL", 0.01)
    server = JobServer.__new__(JobServer)
    # Whoever answers there, it answers.
    server.address = impostor
    server.client = Flaky([["one\ntwo", "\nth", "broken"], ["broken"], ["one\ntwo\nthree\n", "four\n"]])  # type: ignore
    shown: list[str] = []
    ended = server.follow(Job("sent-1", "sent", "RUNNING", None, 0.0, None, "", {}), shown.append)
    assert "".join(shown) == "one\ntwo\nthree\nfour\n"
    assert (ended.status, ended.code) == ("STOPPED", 3)
