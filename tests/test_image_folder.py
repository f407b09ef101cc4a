"""Folders of image files: every kind of file, broken ones, odd folders, reading in other processes."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from gandist_datasets.image_folder import ImageFiles, ImageFolder
from PIL import Image

from gandist import ConfigError, Source
from gandist.contract.turn import Span
from gandist.training.batches import Batches

DATA = os.environ.get("GANDIST_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="GANDIST_TEST_DATA names no folder with photos")


def save(path: Path, color=(10, 20, 30), mode: str = "RGB", size: tuple[int, int] = (16, 16), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path, **options)
    return path


def open_folder(root: Path, **fields) -> ImageFiles:
    source = ImageFolder(root=str(root), **{"size": 8, **fields}).open()
    assert isinstance(source, ImageFiles)
    return source


def pixel(path: Path, channels=3) -> list[int]:
    """Middle of the one image at `path` as a data set of its folder shows it."""
    save(path.with_name("zzz.png"))
    return open_folder(path.parent, channels=channels, broken_limit=0).read([0])["real"][0, :, 4, 4].tolist()


@pytest.mark.parametrize(
    ("file", "mode", "color", "expected"),
    [
        ("a.png", "RGB", (10, 20, 30), [10, 20, 30]),
        ("a.bmp", "RGB", (10, 20, 30), [10, 20, 30]),
        ("a.TIFF", "RGB", (10, 20, 30), [10, 20, 30]),
        ("a.png", "L", 77, [77, 77, 77]),
        ("a.png", "1", 1, [255, 255, 255]),
        ("a.png", "RGBA", (10, 20, 30, 255), [10, 20, 30]),
        ("a.png", "RGBA", (10, 20, 30, 0), [255, 255, 255]),
        ("a.png", "RGBA", (0, 100, 255, 51), [204, 224, 255]),
        ("a.png", "LA", (0, 51), [204, 204, 204]),
        ("a.png", "I;16", 257 * 99, [99, 99, 99]),
        ("a.tif", "I;16", 257 * 99, [99, 99, 99]),
        ("a.tif", "F", 0.2, [51, 51, 51]),
        ("a.tif", "CMYK", (0, 255, 255, 0), [255, 0, 0]),
    ],
)
def test_every_mode(tmp_path: Path, file: str, mode: str, color, expected: list[int]):
    assert pixel(save(tmp_path / file, color, mode)) == expected


@pytest.mark.parametrize("file", ["a.jpg", "a.JPEG", "a.webp"])
def test_lossy_formats(tmp_path: Path, file: str):
    assert pixel(save(tmp_path / file, (200, 100, 50), quality=95)) == pytest.approx([200, 100, 50], abs=4)


def test_palettes(tmp_path: Path):
    for name, options in {"opaque": {}, "clear": {"transparency": 0}}.items():
        (tmp_path / name).mkdir()
        picture = Image.new("P", (16, 16), 0)
        picture.putpalette([10, 20, 30] + [0] * 765)
        picture.save(tmp_path / name / "a.png", **options)
    assert pixel(tmp_path / "opaque" / "a.png") == [10, 20, 30]
    assert pixel(tmp_path / "clear" / "a.png") == [255, 255, 255]


def test_one_channel(tmp_path: Path):
    # Luma of ITU-R 601-2: 0.299 R + 0.587 G + 0.114 B.
    assert pixel(save(tmp_path / "a.png", (200, 100, 50)), channels=1) == [124]


def test_exif_rotation(tmp_path: Path):
    upright = np.zeros((16, 16, 3), np.uint8)
    upright[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    # Orientation 6: the camera lay on its side, and what is stored must be turned clockwise by 90 degrees.
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "a.jpg", exif=exif, quality=95)
    save(tmp_path / "b.png")
    real = open_folder(tmp_path).read([0])["real"][0].int()
    assert real[:, :3].min() > 240
    assert real[:, 5:].max() < 15


@pytest.mark.parametrize(("crop", "edge"), [("center", 0), ("none", 255)])
def test_crop_and_stretch(tmp_path: Path, crop, edge: int):
    wide = np.zeros((30, 90, 3), np.uint8)
    wide[:, :15] = 255
    Image.fromarray(wide).save(tmp_path / "a.png")
    Image.fromarray(wide.transpose(1, 0, 2)).save(tmp_path / "b.png")
    real = open_folder(tmp_path, crop=crop).read([0, 1])["real"]
    assert real.shape == (2, 3, 8, 8)
    assert real.is_contiguous()
    assert real[0, :, :, 0].unique().tolist() == [edge]
    assert torch.equal(real[0], real[1].transpose(1, 2))


def test_shrinking_is_antialiased(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 2, (256, 256, 3)).astype(np.uint8) * 255
    for name in ("a.png", "b.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
    # The mean of 32×32 pixels that are 0 or 255 has a standard deviation of 4.
    assert open_folder(tmp_path).read([0, 1])["real"].float().std() < 8


def test_class_folders(tmp_path: Path):
    for name in ("dog/b.png", "cat/x.png", "dog/a.png", "cat/deep/er/y.png", ".hidden/z.png", "dog/.z.png"):
        save(tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    source = open_folder(tmp_path)
    assert (source.facts.classes, source.facts.class_names, len(source)) == (2, ("cat", "dog"), 4)
    assert [source.files[i] for i in range(4)] == ["cat/deep/er/y.png", "cat/x.png", "dog/a.png", "dog/b.png"]
    labels = source.read([3, 0, 2])["labels"]
    assert labels.dtype == torch.int64
    assert labels.tolist() == [1, 0, 1]


def test_flat_folder_and_single_folder_have_no_classes(tmp_path: Path):
    for number in range(3):
        save(tmp_path / "images" / f"{number}.png")
    for root in (tmp_path, tmp_path / "images"):
        source = open_folder(root)
        assert (source.facts.classes, len(source), list(source.read([0]))) == (0, 3, ["real"])


def test_links_are_followed(tmp_path: Path):
    target = save(tmp_path / "elsewhere" / "a.png", (1, 2, 3))
    for name in ("one", "two"):
        save(tmp_path / "root" / name / "b.png")
        (tmp_path / "root" / name / "a.png").symlink_to(target)
        (tmp_path / "root" / name / "loop").symlink_to(tmp_path / "root" / name)
    source = open_folder(tmp_path / "root")
    assert len(source) == 4
    assert source.read([2])["real"][0, :, 0, 0].tolist() == [1, 2, 3]


def test_fingerprint_is_of_names_and_sizes(tmp_path: Path):
    for copy in ("a", "b"):
        for number in range(2):
            save(tmp_path / copy / f"{number}.png", (number, 0, 0))
    first, second = open_folder(tmp_path / "a"), open_folder(tmp_path / "b")
    assert first.facts.fingerprint == second.facts.fingerprint
    save(tmp_path / "b" / "2.png")
    assert open_folder(tmp_path / "b").facts.fingerprint != second.facts.fingerprint


def break_files(folder: Path) -> None:
    """Eight good files and four that are broken in different ways, at 1, 4, 5 and 11."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for number in range(12):
        noise[0] = number
        Image.fromarray(noise).save(folder / f"{number:02}.{'png' if number == 5 else 'jpg'}")
    for name, keep in {"04.jpg": 2000, "05.png": 5000}.items():
        (folder / name).write_bytes((folder / name).read_bytes()[:keep])
    (folder / "01.jpg").write_text("no image at all")
    (folder / "11.jpg").write_bytes(b"")


def test_broken_files_are_named_and_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    break_files(tmp_path)
    with caplog.at_level(logging.WARNING):
        source = open_folder(tmp_path, broken_limit=4)
        everything = source.read(range(12))["real"]
        again = source.read(range(12))["real"]
    assert len(source) == 12
    assert torch.equal(everything, again)
    for broken, good in {1: 2, 4: 6, 5: 6, 11: 0}.items():
        assert torch.equal(everything[broken], everything[good])
    named = [record.getMessage() for record in caplog.records]
    assert len(named) == 4
    for name in ("01.jpg", "04.jpg", "05.png", "11.jpg"):
        assert sum(name in message for message in named) == 1


def test_replacement_does_not_depend_on_what_was_read_before(tmp_path: Path):
    break_files(tmp_path)
    everything = open_folder(tmp_path).read(range(12))["real"]
    for index in (11, 5, 4, 1):
        assert torch.equal(open_folder(tmp_path).read([index])["real"][0], everything[index])


def test_label_of_a_replacement_is_its_own(tmp_path: Path):
    for name in ("a", "b"):
        save(tmp_path / name / "0.png")
    (tmp_path / "a" / "0.png").write_bytes(b"")
    assert open_folder(tmp_path).read([0])["labels"].tolist() == [1]


def test_too_many_broken_files(tmp_path: Path):
    break_files(tmp_path)
    with pytest.raises(ConfigError, match=r"more than 1 images .* cannot be read:\n.*01.jpg.*\n.*11.jpg"):
        open_folder(tmp_path, broken_limit=1)
    source = open_folder(tmp_path, broken_limit=3)
    with pytest.raises(ConfigError, match=r"05\.png"):
        source.read(range(12))


def test_too_many_broken_files_in_a_loader_process(tmp_path: Path):
    break_files(tmp_path)
    batches = Batches(open_folder(tmp_path, broken_limit=3), 0, Span(0, 12, 12), 1, torch.device("cpu"))
    with pytest.raises(ConfigError, match="more than 3 images") as caught:
        batches.take(0)
    batches.close()
    assert "Traceback" not in str(caught.value)


def test_decompression_bomb_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save(tmp_path / "a.png", size=(100, 100))
    save(tmp_path / "b.png", (1, 2, 3))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9_999)
    source = open_folder(tmp_path)
    assert "exceeds limit" in source.broken[0]
    assert source.read([0])["real"][0, :, 0, 0].tolist() == [1, 2, 3]


def test_nothing_can_be_read(tmp_path: Path):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_text("no image")
    with pytest.raises(ConfigError, match="not one image"):
        open_folder(tmp_path)


def test_odd_folders(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"holds no images \(\.jpg"):
        open_folder(tmp_path)
    save(tmp_path / "photos" / "a.png")
    with pytest.raises(ConfigError, match=r"only one image, photos/a\.png; at least 2"):
        open_folder(tmp_path)
    with pytest.raises(ConfigError, match=f"there is no folder .*; did you mean {tmp_path}/photos"):
        open_folder(tmp_path / "fotos" / "cats")
    save(tmp_path / "b.png")
    with pytest.raises(ConfigError, match=r"both images \(b\.png, …\) and folders of images \(photos\)"):
        open_folder(tmp_path)
    with pytest.raises(ConfigError, match="is a file, not a folder"):
        open_folder(tmp_path / "b.png")


@needs_data
def test_photos():
    source: Source = ImageFolder(root=f"{DATA}/photos", size=32).open()
    assert (source.facts.shape, source.facts.classes, len(source)) == ((3, 32, 32), 10, 500)
    assert source.facts.class_names[:2] == ("dress", "hat")
    batch = source.read(range(0, 500, 10))
    assert torch.bincount(batch["labels"]).tolist() == [5] * 10
    assert 90 < batch["real"].float().mean() < 190
    assert batch["real"].float().std() > 40


@needs_data
def test_other_processes_read_the_same():
    source = ImageFolder(root=f"{DATA}/photos", size=16).open()
    sent = pickle.dumps(source)
    assert len(sent) < 50_000
    assert torch.equal(pickle.loads(sent).read([7, 411])["real"], source.read([7, 411])["real"])
