"""Downloads against a real server on this machine: checksums, broken connections, mirrors, many processes at once."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import struct
import tarfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from gandist_datasets import cifar10
from gandist_datasets.files import Remote, download
from gandist_datasets.presets import Kmnist

from gandist import ConfigError

CONTENT = bytes(range(256)) * 4000
REMOTE = Remote("data.bin", hashlib.sha256(CONTENT).hexdigest())


class Server(ThreadingHTTPServer):
    """Serves `contents`; the first `cut` answers end after half of what they promised."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents: dict[str, bytes] = {REMOTE.name: CONTENT}
        self.cut = 0
        self.ranges = True
        self.delay = 0.0
        self.requests: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.requests.append(wanted)
        time.sleep(self.server.delay)
        content = self.server.contents.get(self.path.lstrip("/"))
        if content is None:
            return self.send_error(404)
        start = int(re.findall(r"\d+", wanted)[0]) if wanted and self.server.ranges else 0
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = len(content)
        if self.server.cut:
            self.server.cut -= 1
            stop = (start + stop) // 2
        self.wfile.write(content[start:stop])

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_fetches_once(server: Server, tmp_path: Path):
    for _ in range(2):
        assert download(REMOTE, tmp_path / "new", [server.url]).read_bytes() == CONTENT
    assert server.requests == [None]
    assert not list(tmp_path.rglob("*.part"))


def test_goes_on_where_the_connection_broke(server: Server, tmp_path: Path):
    server.cut = 2
    assert download(REMOTE, tmp_path, [server.url]).read_bytes() == CONTENT
    half, three_quarters = len(CONTENT) // 2, len(CONTENT) * 3 // 4
    assert server.requests == [None, f"bytes={half}-", f"bytes={three_quarters}-"]


def test_starts_again_without_ranges(server: Server, tmp_path: Path):
    server.cut, server.ranges = 1, False
    assert download(REMOTE, tmp_path, [server.url]).read_bytes() == CONTENT


def test_always_cut(server: Server, tmp_path: Path):
    server.cut = 100
    with pytest.raises(ConfigError, match=r"ended after 896,000 of 1,024,000 bytes"):
        download(REMOTE, tmp_path, [server.url])
    assert not (tmp_path / REMOTE.name).exists()
    server.cut = 0
    assert download(REMOTE, tmp_path, [server.url]).read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=896000-"


@pytest.mark.parametrize("leftover", [b"something else", bytes(2 * len(CONTENT))])
def test_foreign_leftover(server: Server, tmp_path: Path, leftover: bytes):
    (tmp_path / f"{REMOTE.name}.part").write_bytes(leftover)
    assert download(REMOTE, tmp_path, [server.url]).read_bytes() == CONTENT


def test_wrong_checksum(server: Server, tmp_path: Path):
    server.contents[REMOTE.name] = CONTENT[:-1] + b"!"
    with pytest.raises(ConfigError, match=REMOTE.sha256):
        download(REMOTE, tmp_path, [server.url])
    assert [path.name for path in tmp_path.iterdir()] == [f".{REMOTE.name}.lock"]


def test_next_mirror(server: Server, tmp_path: Path):
    servers = ["http://127.0.0.1:9/none", f"{server.url}/missing", server.url]
    assert download(REMOTE, tmp_path, servers).read_bytes() == CONTENT


def test_offline_names_everything(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        download(REMOTE, tmp_path, ["http://127.0.0.1:9/a", "http://127.0.0.1:9/b/"])
    for part in ("http://127.0.0.1:9/a/data.bin", "http://127.0.0.1:9/b/data.bin", str(tmp_path), "dataset.root"):
        assert part in str(caught.value)


def test_folder_that_cannot_be_written(server: Server, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="GANDIST_CACHE"):
        download(REMOTE, tmp_path / "file" / "below", [server.url])


def test_many_at_once_share_one_download(server: Server, tmp_path: Path):
    # The lock belongs to an open file, so threads stand in for processes.
    server.delay = 0.3
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: download(REMOTE, tmp_path, [server.url]), range(4)))
    assert server.requests == [None]
    assert {path.read_bytes() for path in paths} == {CONTENT}


def test_preset_downloads_to_the_cache(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28)
    files = {
        "t10k-images-idx3-ubyte.gz": gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, *images.shape) + images.tobytes()),
        "t10k-labels-idx1-ubyte.gz": gzip.compress(struct.pack(">4BI", 0, 0, 8, 1, 3) + bytes([0, 9, 4])),
    }
    server.contents.update(files)
    monkeypatch.setattr(Kmnist, "sums", {name: hashlib.sha256(content).hexdigest() for name, content in files.items()})
    monkeypatch.setenv("GANDIST_CACHE", str(tmp_path))
    source = Kmnist(split="test", url=server.url).open()
    batch = source.read([0, 1, 2])
    np.testing.assert_array_equal(batch["real"].numpy(), images[:, None])
    assert batch["labels"].tolist() == [0, 9, 4]
    assert (source.facts.classes, source.facts.class_names[9]) == (10, "wo")
    assert (tmp_path / "datasets" / "kmnist" / "t10k-images-idx3-ubyte.gz").is_file()


def test_cifar10_downloads_to_the_cache(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    record = bytes([7]) + bytes([10]) * 1024 + bytes([20]) * 1024 + bytes([30]) * 1024
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        member.size = 2 * len(record)
        archive.addfile(member, io.BytesIO(2 * record))
    name = cifar10.ARCHIVE.name
    server.contents[name] = buffer.getvalue()
    monkeypatch.setattr(cifar10, "ARCHIVE", Remote(name, hashlib.sha256(buffer.getvalue()).hexdigest()))
    monkeypatch.setenv("GANDIST_CACHE", str(tmp_path))
    batch = cifar10.Cifar10(split="test", url=server.url).open().read([1])
    assert batch["real"].shape == (1, 3, 32, 32)
    assert batch["real"][0, :, 5, 5].tolist() == [10, 20, 30]
    assert batch["labels"].tolist() == [7]
