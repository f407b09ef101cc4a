"""The cache of a node: many processes, killed ones, limits, and what is in use."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from web import Web, web

from gandist import ConfigError
from gandist.data.cache import Cache, NoRoomError, parse_size, shown_size

FETCH = """
import sys
from gandist import Place
path = Place(sys.argv[1]).file("data.bin")
print(path, flush=True)
import hashlib
print(hashlib.sha256(path.read_bytes()).hexdigest())
"""
CONTENT = bytes(range(256)) * 8000


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as running:
        running.contents["set/data.bin"] = CONTENT
        yield running


def fetch(server: Web, folder: Path, **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "GANDIST_CACHE": str(folder), **more}
    return subprocess.Popen([sys.executable, "-c", FETCH, server.url("set")], env=environment, stdout=-1, text=True)


def filled(cache: Cache, key: str, size: int, group: str = "group") -> Path | None:
    return cache.get(key, group, size, lambda path: path.write_bytes(bytes(size)) and None, key)


def keys(cache: Cache) -> set[str]:
    return {path.parent.name for path in cache.folder.glob("*/content")}


def test_many_processes_share_one_download(server: Web, tmp_path: Path):
    server.delay = 0.3
    processes = [fetch(server, tmp_path) for _ in range(3)]
    said = [process.communicate(timeout=60)[0].split() for process in processes]
    assert all(sha == hashlib.sha256(CONTENT).hexdigest() for _, sha in said)
    assert len({path for path, _ in said}) == 1
    assert server.gets("set/data.bin") == [None]


def test_a_process_that_is_killed_leaves_what_the_next_goes_on_with(server: Web, tmp_path: Path):
    server.pace = 1_000_000
    process = fetch(server, tmp_path)
    while server.sent < 800_000:
        time.sleep(0.01)
        assert process.poll() is None
    # Another one waits for it meanwhile, and takes over.
    server.pace = 0
    other = fetch(server, tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert other.communicate(timeout=60)[0].split()[1] == hashlib.sha256(CONTENT).hexdigest()
    first, second = server.gets("set/data.bin")
    assert first is None
    assert int(second.removeprefix("bytes=").rstrip("-")) > 0  # type: ignore[union-attr]
    assert not list((tmp_path / "data").glob("*.part"))


def test_what_was_left_by_another_file_is_not_taken(server: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANDIST_CACHE", str(tmp_path))
    process = fetch(server, tmp_path)
    path = Path(process.communicate(timeout=60)[0].split()[0])
    part = path.parent.with_name(f"{path.parent.name}.part")
    path.parent.rename(part)
    (part / "content").rename(part / "content.part")
    (part / "content.part").write_bytes(b"something else")
    server.contents["set/SHA256SUMS"] = f"{hashlib.sha256(CONTENT).hexdigest()}  data.bin\n".encode()
    said = fetch(server, tmp_path).communicate(timeout=60)[0].split()
    assert said[1] == hashlib.sha256(CONTENT).hexdigest()


def test_what_was_used_longest_ago_goes(tmp_path: Path):
    cache = Cache(tmp_path, limit=1000)
    for number, key in enumerate("abc"):
        path = filled(cache, key, 300, group=key)
        assert path is not None
        os.utime(path.parent / "entry.json", (number, number))
    assert cache.find("a")
    filled(cache, "d", 300, group="d")
    assert keys(cache) == {"a", "c", "d"}
    filled(cache, "e", 900, group="e")
    assert keys(cache) == {"e"}
    with pytest.raises(NoRoomError, match=r"f has 1\.1 kB; the cache .* holds at most"):
        filled(cache, "f", 1100, group="f")
    assert keys(cache) == {"e"}


def test_what_is_in_use_stays(tmp_path: Path):
    cache = Cache(tmp_path, limit=1000)
    held = cache.use("one")
    filled(cache, "a", 600, group="one")
    with pytest.raises(NoRoomError, match="of which 600 bytes are in use"):
        filled(Cache(tmp_path, limit=1000), "b", 600, group="two")
    assert not list(cache.folder.glob("b*"))
    held.close()
    filled(cache, "b", 600, group="two")
    assert keys(cache) == {"b"}


def test_files_of_one_group_do_not_drive_each_other_out(tmp_path: Path):
    cache = Cache(tmp_path, limit=1000)
    filled(cache, "a", 600)
    with pytest.raises(NoRoomError):
        filled(cache, "b", 600)
    assert keys(cache) == {"a"}


def test_a_part_that_nobody_fills_any_more_makes_room(tmp_path: Path):
    cache = Cache(tmp_path, limit=1000)

    def broken(path: Path) -> None:
        path.write_bytes(bytes(100))
        raise OSError("the server is away")

    with pytest.raises(OSError, match="away"):
        cache.get("a", "group", 800, broken, "a")
    assert (cache.folder / "a.part").is_dir()
    filled(cache, "b", 600, group="other")
    assert not (cache.folder / "a.part").exists()


def test_more_than_was_announced_counts(tmp_path: Path):
    cache = Cache(tmp_path, limit=1000)
    with pytest.raises(NoRoomError, match=r"a has 2\.0 kB"):
        cache.get("a", "group", None, lambda path: path.write_bytes(bytes(2000)) and None, "a")
    assert not keys(cache)


def test_a_cache_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="set GANDIST_CACHE to a folder that"):
        Cache(tmp_path / "file").use("group")


def test_sizes():
    assert [parse_size(text) for text in ("7", "1.5k", "256M", "4GiB", "2 TB")] == [
        7, 1500, 256_000_000, 4 * 2**30, 2 * 10**12
    ]  # fmt: skip
    for text in ("", "much", "-1", "0", "1 parsec"):
        with pytest.raises(ValueError, match="is no size"):
            parse_size(text)
    assert [shown_size(size) for size in (12, 3200, 128e6, 5e12)] == ["12 bytes", "3.2 kB", "128 MB", "5.0 TB"]
