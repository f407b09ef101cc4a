"""Data from somebody else is read within limits, runs no code, and leads to no other file."""

from __future__ import annotations

import os
import pickle
import struct
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
import torch
from gandist_datasets.cifar10 import Cifar10
from gandist_datasets.digits import Digits
from gandist_datasets.idx import Idx
from gandist_datasets.image_folder import ImageFolder
from gandist_metrics.inception import InceptionV3
from PIL import Image

from gandist import ConfigError, Facts
from gandist.config.schema import Evaluate
from gandist.evaluation.preparing import prepared
from gandist.training import checkpoint
from gandist.using.folders import Pictures


@contextmanager
def at_most(mebibytes: int) -> Iterator[None]:
    """Fails if Python's memory grows by more."""
    tracemalloc.start(1)
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < mebibytes * 2**20
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_refused(tmp_path: Path):
    header = struct.pack(">HBBIII", 0, 8, 3, 400 * 2**20 // 784, 28, 28)
    hostile.gzip_bomb(tmp_path / "train-images-idx3-ubyte.gz", header, 400)
    with at_most(200), pytest.raises(ConfigError, match="decompression bomb"):
        Idx(root=str(tmp_path), images="train-images-idx3-ubyte").open()


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_tar_bomb_is_refused(tmp_path: Path, kind: bytes):
    hostile.tar_bomb(tmp_path / "cifar-10-binary.tar.gz", 1000, kind)
    with at_most(500), pytest.raises(ConfigError, match="decompression bomb"):
        Cifar10(root=str(tmp_path)).open()


def test_names_in_an_archive_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = tmp_path / "a" / "b"
    root.mkdir(parents=True)
    monkeypatch.chdir(root)
    with tarfile.open(root / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for number in range(1, 6):
            (tmp_path / "batch").write_bytes(bytes(3073))
            archive.add(tmp_path / "batch", f"../../data_batch_{number}.bin")
    (tmp_path / "batch").unlink()
    Cifar10(root=str(root)).open()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "cifar-10-binary.tar.gz"]


def test_a_picture_bomb_is_named_and_skipped(tmp_path: Path):
    for number in range(3):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(tmp_path / f"{number}.png")
    hostile.png_bomb(tmp_path / "bomb.png", 20_000)
    source = ImageFolder(root=str(tmp_path), size=32).open()
    with at_most(100):
        assert source.read(range(4))["real"].shape == (4, 3, 32, 32)
    assert "bomb.png" in " ".join(source.broken.values())


def test_a_picture_is_decoded_by_no_other_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    marker, programs = tmp_path / "executed", tmp_path / "programs"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    (tmp_path / "pictures").mkdir()
    for number in range(2):
        Image.new("RGB", (40, 40)).save(tmp_path / "pictures" / f"{number}.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "pictures" / "2.png", format="EPS")
    source = ImageFolder(root=str(tmp_path / "pictures"), size=32).open()
    source.read(range(3))
    assert "2.png" in " ".join(source.broken.values())
    with pytest.raises(ConfigError, match=r"2\.png"):
        list(Pictures(tmp_path / "pictures", Facts((3, 40, 40), 0, 3, "")))
    assert not marker.exists()


def test_pictures_to_score_are_measured_before_they_are_decoded(tmp_path: Path):
    for number in range(2):
        hostile.png_bomb(tmp_path / f"{number}.png", 9_000)
    with at_most(50), pytest.raises(ConfigError, match="9000"):
        list(Pictures(tmp_path, Facts((1, 8, 8), 0, 2, "")))


@pytest.mark.parametrize(
    ("shape", "mebibytes", "said"),
    [((1500 * 2**14, 8, 8, 1), 1500, "bomb"), ((10**12, 8, 8, 1), 1, "damaged"), ((9, 9, 9, 9), 1, "the run's data")],
)
def test_an_array_bomb_is_refused(tmp_path: Path, shape: tuple[int, ...], mebibytes: int, said: str):
    hostile.npz_bomb(tmp_path / "images.npz", shape, mebibytes)
    with at_most(20), pytest.raises(ConfigError, match=said):
        Pictures(tmp_path / "images.npz", Facts((1, 8, 8), 0, 2, ""))


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path):
    marker = tmp_path / "executed"
    np.savez(tmp_path / "images.npz", images=np.array([hostile.Touch(marker)], dtype=object))
    with pytest.raises(ConfigError, match="should be uint8"):
        Pictures(tmp_path / "images.npz", Facts((1, 8, 8), 0, 2, ""))
    assert not marker.exists()


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(pickle.dumps({"x": 1})),
        lambda path: checkpoint.write_tensors(path, {"x": torch.ones(3)}, {"accuracy": "1.0"}),
        lambda path: checkpoint.write_tensors(path, {"mean": torch.ones(64)}, {}),
    ],
)
def test_a_foreign_file_in_the_cache_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None]
):
    monkeypatch.setenv("GANDIST_CACHE", str(tmp_path))
    monkeypatch.setattr("gandist.evaluation.fitting.fit", _unfit)
    source, section = Digits(size=8).open(), Evaluate(count=100)
    first = prepared(section, source, torch.device("cpu"))
    for path in tmp_path.rglob("*.safetensors"):
        harm(path)
    again = prepared(section, source, torch.device("cpu"))
    assert torch.equal(first.measures[0].known["mean"], again.measures[0].known["mean"])
    assert first.floors == again.floors
    assert first.floors["frechet"]["frechet"] > 0


def test_weights_with_objects_are_not_unpickled(tmp_path: Path):
    marker = tmp_path / "executed"
    torch.save({"fc.weight": hostile.Touch(marker)}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="holds no weights"):
        InceptionV3(weights=str(tmp_path / "w.pth")).build(Digits(size=8).open(), torch.device("cpu"))
    assert not marker.exists()


def _unfit(source: Any, device: torch.device) -> Any:
    """An untrained classifier: how well it does is not the question here."""
    from gandist.evaluation.classifier import Classifier

    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = Classifier(1, 10).eval()
    classifier.accuracy = 0.1
    return classifier
