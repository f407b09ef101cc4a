"""The data sets that are embedded, generated, or lie in files of a fixed format."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from gandist_datasets.cifar10 import Cifar10
from gandist_datasets.digits import Digits
from gandist_datasets.gaussians import Gaussians, Mixture
from gandist_datasets.idx import Idx, read_idx
from gandist_datasets.images import pad, resize
from gandist_datasets.presets import FashionMnist, Kmnist, Mnist
from gandist_datasets.stacked import Stacked

from gandist import ConfigError

DATA = os.environ.get("GANDIST_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="GANDIST_TEST_DATA names no folder with fashion-mnist")


def write_idx(path: Path, array: np.ndarray, *, code: int = 8, zipped: bool = False) -> Path:
    content = struct.pack(f">4B{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if zipped else content)
    return path


def test_digits_are_the_real_scans():
    source = Digits(size=8).open()
    batch = source.read(range(1797))
    assert source.facts.shape == (1, 8, 8)
    # Number of scans of each class, as the publishers state it for their test set.
    assert torch.bincount(batch["labels"]).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # First row of the first scan: 0 0 5 13 9 1 0 0 of 16.
    assert batch["real"][0, 0, 0].tolist() == [round(v * 255 / 16) for v in (0, 0, 5, 13, 9, 1, 0, 0)]


@pytest.mark.parametrize("size", [28, 32, 128])
def test_digits_scaled_up(size: int):
    real = Digits(size=size).open().read([0, 5])["real"]
    assert real.shape == (2, 1, size, size)
    assert real.dtype == torch.uint8
    assert real.is_contiguous()
    assert real.max() > 240
    assert real.min() == 0


def test_digits_split_is_fixed_and_disjoint():
    everything, train, test = (Digits(size=8, split=split).open() for split in ("all", "train", "test"))
    assert (len(everything), len(train), len(test)) == (1797, 1437, 360)

    def rows(source) -> list[bytes]:
        batch = source.read(range(len(source)))
        return sorted(
            image.numpy().tobytes() + bytes([label])
            for image, label in zip(batch["real"], batch["labels"], strict=True)
        )

    assert sorted(rows(train) + rows(test)) == rows(everything)
    assert test.read([0, 1, 2])["labels"].tolist() == Digits(split="test").open().read([0, 1, 2])["labels"].tolist()


def test_fingerprint_follows_the_samples():
    prints = {Digits(size=size, split=split).open().facts.fingerprint for size in (8, 28) for split in ("all", "test")}
    assert len(prints) == 4
    assert Digits().open().facts.fingerprint == Digits().open().facts.fingerprint


def test_reading_is_a_pure_function_of_the_index():
    source = pickle.loads(pickle.dumps(Gaussians(count=200).open()))
    together = source.read([3, 199, 3])
    torch.testing.assert_close(together["real"][2], together["real"][0])
    torch.testing.assert_close(source.read([199])["real"][0], together["real"][1])
    together["real"].zero_()
    assert source.read([3])["real"].abs().sum() > 0


@pytest.mark.parametrize(("layout", "modes", "sigma"), [("ring", 8, 0.01), ("grid", 25, 0.05)])
def test_gaussians_are_pacgans(layout, modes: int, sigma: float):
    source = Gaussians(layout=layout, count=modes * 2000).open()
    assert isinstance(source, Mixture)
    assert (source.facts.shape, source.facts.classes, source.sigma) == ((2,), modes, sigma)
    batch = source.read(range(len(source)))
    points, labels = batch["real"], batch["labels"]
    assert points.dtype == torch.float32
    assert torch.bincount(labels).tolist() == [2000] * modes
    assert torch.equal(torch.cdist(points, source.centers).argmin(dim=1), labels)
    offsets = (points - source.centers[labels]) / sigma
    assert offsets.mean().abs() < 0.02
    assert abs(offsets.std() - 1) < 0.02
    # P(|x| < 3) of a standard normal in the plane is 1 - exp(-9/2).
    assert abs((offsets.norm(dim=1) < 3).float().mean() - 0.98889) < 0.003


def test_gaussian_centers():
    ring, grid = Gaussians().open(), Gaussians(layout="grid", spacing=1.0).open()
    assert isinstance(ring, Mixture)
    assert isinstance(grid, Mixture)
    torch.testing.assert_close(ring.centers.norm(dim=1), torch.ones(8))
    torch.testing.assert_close(ring.centers.sum(dim=0), torch.zeros(2), atol=1e-6, rtol=0)
    expected = {(float(x), float(y)) for x in range(-2, 3) for y in range(-2, 3)}
    assert {tuple(center) for center in grid.centers.tolist()} == expected


def test_gaussians_do_not_change_with_the_count():
    few, many = Gaussians(count=100).open(), Gaussians(count=1000).open()
    assert torch.equal(few.read(range(100))["real"], many.read(range(100))["real"])


def test_gaussians_refuse_the_other_layouts_field():
    with pytest.raises(ValueError, match="spacing has no meaning with layout: ring"):
        Gaussians(spacing=3.0)
    with pytest.raises(ValueError, match="radius has no meaning with layout: grid"):
        Gaussians(layout="grid", radius=3.0)


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_reads_what_was_written(tmp_path: Path, zipped: bool):
    array = np.arange(2 * 3 * 5).reshape(2, 3, 5)
    np.testing.assert_array_equal(read_idx(write_idx(tmp_path / "x", array, zipped=zipped)), array)


DAMAGE = {
    "cut gzip": lambda plain: gzip.compress(plain)[:-20],
    "cut": lambda plain: plain[:-1],
    "too long": lambda plain: plain + b"!",
    "no header": lambda plain: plain[:3],
    "half a header": lambda plain: plain[:9],
    "empty": lambda plain: b"",
    "another format": lambda plain: b"\x89PNG" + plain[4:],
    "floats": lambda plain: b"\0\0\x0d\x03" + plain[4:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_idx_names_a_damaged_file(tmp_path: Path, damage):
    path = write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((10, 8, 8)))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match=str(path)):
        Idx(root=str(tmp_path)).open()


def test_idx_of_your_own(tmp_path: Path):
    images = np.arange(4 * 9 * 10 * 3).reshape(4, 9, 10, 3)
    write_idx(tmp_path / "birds.idx", images)
    write_idx(tmp_path / "kinds.idx", np.array([0, 4, 2, 0]), zipped=True)
    source = Idx(root=str(tmp_path), images="birds.idx").open()
    assert (source.facts.shape, source.facts.classes, list(source.read([1]))) == ((3, 9, 10), 0, ["real"])
    np.testing.assert_array_equal(source.read([1])["real"][0].numpy(), images[1].astype(np.uint8).transpose(2, 0, 1))
    assert Idx(root=str(tmp_path), images="birds.idx", labels="kinds.idx").open().facts.classes == 5


def test_idx_labels_must_fit(tmp_path: Path):
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((4, 8, 8)))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(5))
    with pytest.raises(ConfigError, match="5 labels for 4 images"):
        Idx(root=str(tmp_path)).open()
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.array([0, 1, 2, 10]))
    with pytest.raises(ConfigError, match="label 10; mnist has 10 classes only"):
        Mnist(root=str(tmp_path)).open()


def test_missing_files_and_folders(tmp_path: Path):
    (tmp_path / "fashion-mnist").mkdir()
    with pytest.raises(ConfigError, match=f"did you mean {tmp_path}/fashion-mnist"):
        FashionMnist(root=str(tmp_path / "fashion_mnist")).open()
    (tmp_path / "fashion-mnist" / "train-images-idx3-ubyte.bz2").touch()
    with pytest.raises(ConfigError, match=r"no train-images-idx3-ubyte \(.*it has train-images-idx3-ubyte.bz2"):
        Kmnist(root=str(tmp_path / "fashion-mnist")).open()
    with pytest.raises(ConfigError, match="is a file, not a folder"):
        Cifar10(root=__file__).open()
    with pytest.raises(ConfigError, match="holds neither cifar-10-binary"):
        Cifar10(root=str(tmp_path)).open()


def test_relative_root_is_fixed_where_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert Mnist(root="data").root == str(tmp_path / "data")


@needs_data
def test_fashion_mnist():
    source = FashionMnist(root=f"{DATA}/fashion-mnist", split="test").open()
    assert (source.facts.shape, source.facts.size, source.facts.classes) == ((1, 28, 28), 10_000, 10)
    assert source.facts.class_names[9] == "Ankle boot"
    batch = source.read(range(10_000))
    assert torch.bincount(batch["labels"]).tolist() == [1000] * 10
    assert batch["real"].double().mean().item() == pytest.approx(73.15, abs=0.005)


@needs_data
def test_fashion_mnist_at_another_size():
    root = f"{DATA}/fashion-mnist"
    plain = FashionMnist(root=root, split="test").open().read([0, 1])["real"]
    padded = FashionMnist(root=root, split="test", size=32, fit="pad").open().read([0, 1])["real"]
    assert torch.equal(padded[:, :, 2:-2, 2:-2], plain)
    assert padded.sum() == plain.sum()
    with pytest.raises(ConfigError, match=r"set dataset\.fit to resize"):
        FashionMnist(root=root, split="test", size=16, fit="pad").open()


def test_resizing():
    flat = np.full((2, 3, 10, 20), 77, np.uint8)
    assert resize(flat, 32).shape == (2, 3, 32, 32)
    assert (resize(flat, 7) == 77).all()
    stripes = np.zeros((1, 1, 64, 64), np.uint8)
    stripes[..., ::2] = 255
    # Antialiased: stripes that are too fine for the small image become grey, not black or white.
    assert (np.abs(resize(stripes, 16)[..., 2:-2].astype(int) - 127) < 20).all()
    assert pad(flat, 21).shape == (2, 3, 21, 21)


def write_cifar(folder: Path, records: bytes) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(1, 6):
        (folder / f"data_batch_{number}.bin").write_bytes(records)


def test_cifar10_unpacked_and_archived(tmp_path: Path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (3, 3, 32, 32), dtype=np.uint8), bytes([1, 9, 0])
    records = b"".join(labels[i : i + 1] + images[i].tobytes() for i in range(3))
    folder = tmp_path / "cifar-10-batches-bin"
    write_cifar(folder, records)
    unpacked = Cifar10(root=str(tmp_path)).open()
    assert unpacked.facts.size == 15
    batch = unpacked.read([0, 4])
    np.testing.assert_array_equal(batch["real"].numpy(), images[:2])
    assert batch["labels"].tolist() == [1, 9]
    elsewhere = tmp_path / "archived"
    elsewhere.mkdir()
    with tarfile.open(elsewhere / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    assert Cifar10(root=str(elsewhere)).open().facts == unpacked.facts
    assert Cifar10(root=str(folder), size=64).open().facts.shape == (3, 64, 64)


def test_cifar10_names_damage(tmp_path: Path):
    write_cifar(tmp_path, bytes(3073)[:-1])
    with pytest.raises(ConfigError, match="is no multiple of 3073"):
        Cifar10(root=str(tmp_path)).open()
    write_cifar(tmp_path, bytes([10]) + bytes(3072))
    with pytest.raises(ConfigError, match="label 10"):
        Cifar10(root=str(tmp_path)).open()
    (tmp_path / "data_batch_3.bin").unlink()
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(gzip.compress(bytes(20_000))[:-9])
    with pytest.raises(ConfigError, match=r"cannot read .*cifar-10-binary\.tar\.gz"):
        Cifar10(root=str(tmp_path)).open()


def test_stacked_digits_are_triples_of_scans_with_their_labels_as_digits():
    digits, stacked = Digits(size=16).open(), Stacked(size=16, count=500).open()
    assert (stacked.facts.shape, stacked.facts.classes, len(stacked)) == ((3, 16, 16), 1000, 500)
    batch = stacked.read([3, 499])
    for row, number in enumerate((3, 499)):
        triple = digits.read(stacked.drawn[number].tolist())
        assert torch.equal(batch["real"][row], triple["real"][:, 0])
        a, b, c = triple["labels"].tolist()
        assert batch["labels"][row] == 100 * a + 10 * b + c
        assert stacked.facts.class_names[batch["labels"][row]] == f"{a} {b} {c}"
    assert len({tuple(row) for row in stacked.drawn.tolist()}) > 490
