from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from gandist.data.cache import cache_folder
from gandist.evaluation.cache import remembered


def test_of_many_that_ask_at_once_one_makes_it(tmp_path: Path):
    made, found = [], []

    def make():
        made.append(1)
        return {"x": torch.arange(3)}, {"note": "1"}

    def ask():
        found.append(remembered(tmp_path / "deep" / "thing.safetensors", make))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert all(torch.equal(tensors["x"], torch.arange(3)) and about == {"note": "1"} for tensors, about in found)


def test_a_damaged_cache_is_made_anew_and_an_unwritable_one_does_without(tmp_path: Path):
    path = tmp_path / "thing.safetensors"
    path.write_bytes(b"half a file")

    def make():
        return {"x": torch.ones(2)}, {}

    assert torch.equal(remembered(path, make)[0]["x"], torch.ones(2))
    assert remembered(path, lambda: pytest.fail("it was cached"))[1] == {}
    (tmp_path / "file").write_text("no folder")
    assert torch.equal(remembered(tmp_path / "file" / "thing.safetensors", make)[0]["x"], torch.ones(2))


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GANDIST_CACHE", "/a")
    assert cache_folder() == Path("/a")
    monkeypatch.delenv("GANDIST_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_folder() == Path("/b/gandist")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "gandist"
