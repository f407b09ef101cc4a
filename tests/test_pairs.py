"""Data sets of two domains, with pairs and without: what is read, what is a pair, and what is refused."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from gandist_datasets.degraded_folder import DegradedFolder
from gandist_datasets.paired_folders import PairedFolders
from gandist_datasets.unpaired_folders import UnpairedFolders
from gandist_datasets.views import View
from PIL import Image

from gandist import ConfigError
from gandist.config.check import check
from gandist.config.schema import Config
from gandist.testing import check_dataset
from gandist.testing.tiny import TinyPlayers

SIZE = 8


def picture(seed: int, width: int = 24, height: int = 18) -> Image.Image:
    """Smooth noise, so that resampling changes little."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def negative(image: Image.Image) -> Image.Image:
    return Image.fromarray(255 - np.asarray(image))


def fill(root: Path, folder: str, seeds: range, inverted: bool = False, ending: str = "png") -> None:
    place = root / folder
    place.mkdir(parents=True)
    for seed in seeds:
        (negative(picture(seed)) if inverted else picture(seed)).save(place / f"{seed}.{ending}")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """B is the negative of A."""
    for split, seeds in (("train", range(5)), ("test", range(10, 13))):
        fill(tmp_path, f"{split}A", seeds)
        fill(tmp_path, f"{split}B", seeds, inverted=True)
    return tmp_path


@pytest.mark.parametrize("kind", [PairedFolders, UnpairedFolders])
def test_the_contract(kind, pairs: Path):
    check_dataset(kind(root=str(pairs), size=SIZE), count=5)


def test_both_of_a_pair_show_the_same_crop(pairs: Path):
    source = PairedFolders(root=str(pairs), size=SIZE, zoom=1.5).open()
    for rows in (source.read(range(5)), source.varied(range(5), 7, 100)):
        gap = (rows["a"].int() + rows["b"].int() - 255).abs()
        assert gap.max() <= 2
    seen = source.varied([0] * 40, 7, 0)["a"]
    assert len({one.numpy().tobytes() for one in seen}) > 30
    middle = source.read([0])["a"]
    still = PairedFolders(root=str(pairs), size=SIZE, zoom=1.0, flip=False).open()
    # 24×18: there is still room to the left and right.
    assert len({one.numpy().tobytes() for one in still.varied([0] * 20, 7, 0)["a"]}) > 10
    assert torch.equal(middle, source.read([0])["a"])


def test_a_view_is_the_crop_that_it_says():
    ramp = Image.fromarray(np.tile(np.arange(0, 240, 10, dtype=np.uint8), (18, 1)))
    left, right = (np.asarray(View(1.0, x, 0.0).of(ramp, 18)) for x in (0.0, 1.0))
    assert np.abs(left[0].astype(int) - np.arange(0, 180, 10)).max() <= 1
    assert np.abs(right[0].astype(int) - np.arange(60, 240, 10)).max() <= 1
    assert np.array_equal(np.asarray(View(1.0, 0.0, 0.0, True).of(ramp, 18)), left[:, ::-1])
    half = np.asarray(View(2.0, 0.0, 0.0).of(ramp, 9))
    assert np.abs(half[0].astype(int) - np.arange(0, 90, 10)).max() <= 1


def test_domains_are_shuffled_apart_and_test_folders_of_the_same_names_are_pairs(tmp_path: Path):
    fill(tmp_path, "trainA", range(5))
    fill(tmp_path, "trainB", range(20, 27))
    source = UnpairedFolders(root=str(tmp_path), size=SIZE).open()
    assert {name: len(stream) for name, stream in source.streams().items()} == {"a": 5, "b": 7}
    assert source.facts.size == 7
    assert source.held_out() is None
    fill(tmp_path, "testA", range(10, 13))
    fill(tmp_path, "testB", range(10, 13), inverted=True)
    held = UnpairedFolders(root=str(tmp_path), size=SIZE).open().held_out()
    assert held is not None
    rows = held.read([0, 1, 2])
    assert (rows["a"].int() + rows["b"].int() - 255).abs().max() <= 2
    (tmp_path / "testB" / "10.png").rename(tmp_path / "testB" / "x.png")
    held = UnpairedFolders(root=str(tmp_path), size=SIZE).open().held_out()
    assert held is not None
    assert held.entries == ("a",)


def test_images_side_by_side(tmp_path: Path):
    place = tmp_path / "train"
    place.mkdir()
    for seed in range(3):
        both = Image.new("RGB", (48, 18))
        both.paste(picture(seed), (0, 0))
        both.paste(negative(picture(seed)), (24, 0))
        both.save(place / f"{seed}.png")
    one, other = (PairedFolders(root=str(tmp_path), size=SIZE, swap=swap).open() for swap in (False, True))
    rows, swapped = one.read([0, 1]), other.read([0, 1])
    assert (rows["a"].int() + rows["b"].int() - 255).abs().max() <= 2
    assert torch.equal(rows["a"], swapped["b"])
    assert one.facts.fingerprint != other.facts.fingerprint


def test_a_smaller_input_of_the_same_shape_is_a_pair(pairs: Path):
    for file in (pairs / "trainA").iterdir():
        Image.open(file).resize((12, 9)).save(file)
    rows = PairedFolders(root=str(pairs), size=SIZE).open().read([0, 4])
    assert (rows["a"].int() + rows["b"].int() - 255).abs().float().mean() < 8


def test_a_pair_of_two_shapes_is_named_and_skipped(pairs: Path, caplog: pytest.LogCaptureFixture):
    picture(0, 20, 20).save(pairs / "trainB" / "0.png")
    with caplog.at_level(logging.WARNING):
        source = PairedFolders(root=str(pairs), size=SIZE, broken_limit=1).open()
        assert torch.equal(source.read([0])["a"], source.read([1])["a"])
    assert "0.png" in caplog.text
    assert "24×18 pixels" in caplog.text
    assert "20×20" in caplog.text
    picture(0, 20, 20).save(pairs / "trainB" / "1.png")
    with pytest.raises(ConfigError, match="more than 1 images"):
        PairedFolders(root=str(pairs), size=SIZE, broken_limit=1).open()


@pytest.mark.parametrize(
    ("kind", "spoil", "words"),
    [
        (UnpairedFolders, "trainB", ["has no folder trainB", "it has testA, testB, trainA"]),
        (PairedFolders, "trainB", ["neither trainA and trainB nor train"]),
    ],
)
def test_a_missing_folder_is_named(kind, spoil: str, words: list[str], pairs: Path):
    shutil.rmtree(pairs / spoil)
    with pytest.raises(ConfigError) as caught:
        kind(root=str(pairs)).open()
    assert all(word in str(caught.value) for word in words), caught.value


def test_an_empty_folder_and_mismatched_names(pairs: Path):
    (pairs / "trainB" / "4.png").rename(pairs / "trainB" / "four.png")
    with pytest.raises(ConfigError, match=r"2 images of .* have no partner .*4\.png.*unpaired-folders"):
        PairedFolders(root=str(pairs)).open()
    for file in (pairs / "trainA").iterdir():
        file.unlink()
    for kind in (PairedFolders, UnpairedFolders):
        with pytest.raises(ConfigError, match=r"trainA holds no images"):
            kind(root=str(pairs)).open()


def test_check_finds_a_loss_that_reads_something_else(pairs: Path):
    def problems(loss: str, kind: str) -> str:
        sections = {
            "run": {"name": "wrong"},
            "dataset": {"name": kind, "root": str(pairs), "size": 64},
            "architecture": {"name": loss, "width": 2, "critic_width": 2} if loss != "hinge" else TinyPlayers(),
            "loss": {"name": loss},
            "train": {"batch_size": 2},
        }
        with pytest.raises(ConfigError) as caught:
            check(Config.model_validate(sections))
        return str(caught.value)

    assert "hinge reads real, which paired-folders does not give: it gives a and b" in problems(
        "hinge", "paired-folders"
    )
    assert "pix2pix needs a and b of the same sample, unpaired-folders shuffles them apart" in problems(
        "pix2pix", "unpaired-folders"
    )


def test_check_refuses_metrics_of_samples_that_nobody_draws(pairs: Path):
    sections = {
        "run": {"name": "wrong"},
        "dataset": {"name": "paired-folders", "root": str(pairs), "size": 64},
        "architecture": {"name": "pix2pix", "width": 2, "critic_width": 2},
        "loss": "pix2pix",
        "train": {"batch_size": 2},
        "evaluate": {"every": 5, "features": "pixels", "metrics": ["l1", "frechet"]},
    }
    with pytest.raises(ConfigError, match="frechet scores samples, and the generator of pix2pix draws none"):
        check(Config.model_validate(sections))


def test_degraded_images_are_pairs_with_their_originals(tmp_path: Path):
    fill(tmp_path, "images", range(10))
    noisy = DegradedFolder(root=str(tmp_path / "images"), size=32, noise=0.1, held_out=0.2)
    check_dataset(noisy, count=4)
    source = noisy.open()
    held = source.held_out()
    assert held is not None
    assert (len(source), len(held)) == (8, 2)
    rows = source.varied([3] * 2, 1, 5)
    difference = (rows["a"].double() - rows["b"].double()) / 255
    inside = (rows["b"] > 60) & (rows["b"] < 195)
    assert difference[inside].std().item() == pytest.approx(0.1, rel=0.1)
    assert torch.equal(held.read([0])["a"], held.read([0, 1])["a"][:1])
    coarse = DegradedFolder(root=str(tmp_path / "images"), size=32, noise=0, shrink=4, held_out=0).open()
    assert coarse.held_out() is None
    rows = coarse.read([0])
    worse, good = (rows[name].double() for name in "ab")
    assert 0 < (worse - good).abs().mean() < 30
    assert worse.diff(dim=3).square().mean() < good.diff(dim=3).square().mean()
