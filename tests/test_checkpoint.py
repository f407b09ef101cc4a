"""Checkpoints are whole or not there, and loading one runs no code of its author."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from gandist import CheckpointError
from gandist.training import checkpoint


def save(folder: Path, step: int, keep: int = 2) -> Path:
    networks = {"generator.weight": torch.full((3, 4), float(step))}
    return checkpoint.save(
        folder, step, networks, {"progress": {"step": step}}, "run: {}\n", {"images": step}, checkpoint.Kept(keep)
    )


def test_saved_and_loaded(tmp_path: Path):
    path = save(tmp_path, 7)
    networks, state = checkpoint.load(path)
    assert networks["generator.weight"].tolist() == [[7.0] * 4] * 3
    assert state == {"progress": {"step": 7}}
    assert checkpoint.manifest(path)["images"] == 7
    assert sorted(p.name for p in path.iterdir()) == [
        "config.yaml",
        "manifest.json",
        "networks.safetensors",
        "state.pt",
    ]


def test_only_the_newest_are_kept(tmp_path: Path):
    for step in (1, 2, 3, 4):
        save(tmp_path, step, keep=2)
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == ["step-00000004", "step-00000003"]
    assert checkpoint.newest(tmp_path) == (tmp_path / "step-00000004", {})


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: (path / "networks.safetensors").write_bytes(b""), "has 0 bytes, should have"),
        (lambda path: (path / "state.pt").unlink(), "state.pt is missing"),
        (lambda path: (path / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda path: (path / "manifest.json").write_text("{"), "cannot be read"),
        (lambda path: (path / "config.yaml").write_text("run: []\n"), "another SHA-256"),
    ],
)
def test_damage_is_named_and_the_one_before_used(tmp_path: Path, harm, said: str):
    old, new = save(tmp_path, 1), save(tmp_path, 2)
    harm(new)
    found, damaged = checkpoint.newest(tmp_path)
    assert found == old
    assert said in damaged[new]
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        checkpoint.load(new)


def test_a_failed_write_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save(tmp_path, 1)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoint.damage(tmp_path / "step-00000001") is None


class _Evil:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def test_a_pickle_is_refused_and_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path, 1)
    torch.save({"progress": _Evil()}, path / "state.pt")
    manifest = checkpoint.manifest(path)
    manifest["files"]["state.pt"] = checkpoint._fingerprint(path / "state.pt")
    import json

    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="refused"):
        checkpoint.load(path)
    (path / "state.pt").write_bytes(pickle.dumps(_Evil()))
    manifest["files"]["state.pt"] = checkpoint._fingerprint(path / "state.pt")
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError):
        checkpoint.load(path)
    assert not (tmp_path / "pwned").exists()
