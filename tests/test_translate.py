"""Translating pictures of any size, mode and orientation with a trained run, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from gandist.cli import main
from gandist.config.resolve import resolve
from gandist.training.loop import train
from gandist.training.surroundings import Surroundings
from gandist.using.tiles import tiled, whole
from tests.test_pairs import fill, picture

SMALL = {"width": 2, "critic_width": 2, "critic_layers": 1}
TRANSLATORS = {"cyclegan": SMALL, "cut": {**SMALL, "head_width": 4}, "pix2pix": {**SMALL, "depth": 3}}


def blurring(times: int) -> nn.Module:
    """3×3 means that see `times` pixels far, with zeros beyond the border."""
    return nn.Sequential(*(nn.AvgPool2d(3, 1, 1) for _ in range(times)))


@pytest.mark.parametrize("shape", [(150, 97), (64, 200), (33, 21), (96, 96)])
def test_tiles_are_the_whole_image_where_the_network_does_not_see_farther(shape: tuple[int, int]):
    image = torch.randn(3, *shape)
    work = blurring(3)
    expected, asked = whole(image, work, 4, 8), []

    def recorded(images: Tensor) -> Tensor:
        asked.append(images.shape[2:])
        return work(images)

    torch.testing.assert_close(tiled(image, recorded, 4, 8, tile=40, overlap=16), expected)
    assert all(side % 4 == 0 and side <= 40 for size in asked for side in size)
    assert len(asked) > 1 or max(shape) <= 40


def test_tiles_fade_into_each_other():
    """Each tile is another constant: from one pixel to the next the result moves by the slope of a fade at most."""
    tiles = iter(range(100))
    made = tiled(torch.zeros(1, 90, 130), lambda images: torch.full_like(images, float(next(tiles) % 2)), 1, 8, 48, 16)
    for axis in (1, 2):
        assert made.diff(dim=axis).abs().max() <= 1 / 8 + 1e-6
    assert made.min() >= 0
    assert made.max() <= 1


def test_small_images_are_padded_by_mirroring():
    image = torch.arange(6.0).view(1, 2, 3)
    seen = []
    made = whole(image, lambda images: seen.append(images) or images, 4, 8)
    assert torch.equal(made, image)
    assert seen[0].shape == (1, 1, 8, 8)
    assert seen[0][0, 0, 0].tolist() == [0, 1, 2, 2, 1, 0, 0, 1]


def train_run(folder: Path, config: dict[str, Any]) -> list[Tensor]:
    """Trains a run; the pictures that it shows."""
    given = resolve({"run": {"name": folder.name}, **config})
    text = yaml.safe_dump(given.model_dump(mode="json"))
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(text)
    shown = []

    def announce(hook: str, **facts: Any) -> None:
        if hook == "gandist_on_samples":
            shown.append(facts["images"])

    train(given, given.dataset.open(), Surroundings(folder, config_text=text, watch=lambda run: announce))
    return shown


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two steps: of each method, and one that draws from noise."""
    root = tmp_path_factory.mktemp("runs")
    for split, seeds in (("train", range(4)), ("test", range(10, 12))):
        fill(root / "data", f"{split}A", seeds)
        fill(root / "data", f"{split}B", seeds, inverted=True)
    pictures = {}
    for name, fields in TRANSLATORS.items():
        data = "paired-folders" if name == "pix2pix" else "unpaired-folders"
        config = {
            "dataset": {"name": data, "root": str(root / "data"), "size": 16, "loaders": 0},
            "architecture": {"name": name, **fields},
            "loss": {"name": name},
            "train": {"images": 4, "batch_size": 2, "sample_every": 1},
        }
        pictures[name] = train_run(root / name, config)
    noise = {"dataset": "gaussians", "architecture": "mlp", "loss": "hinge", "train": {"images": 4, "batch_size": 2}}
    train_run(root / "mlp", noise)
    torch.save(pictures, root / "pictures.pt")
    return root


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("name", TRANSLATORS)
def test_a_run_shows_held_out_images_beside_their_translations(runs: Path, name: str):
    before, shown = torch.load(runs / "pictures.pt")[name]
    # Two held-out images; of cyclegan in both directions, with the way back, of the others with the truth.
    assert shown.shape == ((4 if name == "cyclegan" else 2), 3, 16, 3 * 16)
    assert shown.dtype == torch.uint8
    assert torch.equal(shown[:, :, :, :16], before[:, :, :, :16])
    assert not torch.equal(shown, before)
    if name != "cyclegan":
        gap = shown[:, :, :, :16].int() + shown[:, :, :, 32:].int() - 255
        assert gap.abs().max() <= 2


def test_size_transparency_and_orientation_are_kept(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    given = tmp_path / "in" / "deep"
    given.mkdir(parents=True)
    image = picture(1, 37, 21)
    image.save(given / "plain.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(given / "turned.jpg", exif=exif)
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray(np.arange(21 * 37, dtype=np.uint16).reshape(21, 37).astype(np.uint8)))
    clear.save(given / "clear.png")
    image.convert("P").save(given / "palette.png")
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(given / "deep.png")
    (given / "broken.png").write_bytes(b"no picture")
    arguments = (runs / "cyclegan", tmp_path / "in", "--to", "B", "--out", tmp_path / "out", "--json")
    code, out, err = called(capsys, "translate", *arguments)
    assert code == 0, err
    told = json.loads(out)
    assert told["translated"] == 5
    assert list(told["skipped"]) == [str(given / "broken.png")]
    assert "skipping" in err
    sizes = {path.name: Image.open(path) for path in (tmp_path / "out" / "deep").iterdir()}
    assert set(sizes) == {"plain.png", "turned.png", "clear.png", "palette.png", "deep.png"}
    assert sizes["plain.png"].size == (37, 21)
    assert sizes["turned.png"].size == (21, 37)
    assert sizes["clear.png"].mode == "RGBA"
    assert np.array_equal(np.asarray(sizes["clear.png"].getchannel("A")), np.asarray(clear.getchannel("A")))
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_both_directions_patterns_and_names_that_differ_in_their_ending(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name in ("x.png", "x.jpg", "y.png"):
        picture(2, 20, 20).save(tmp_path / name)
    for to in ("A", "b"):
        code, _, err = called(
            capsys, "translate", runs / "cyclegan", tmp_path / "*.*g", "--to", to, "--out", tmp_path / to
        )
        assert code == 0, err
        assert {path.name for path in (tmp_path / to).iterdir()} == {"x.png.png", "x.jpg.png", "y.png"}
    one, other = (np.asarray(Image.open(tmp_path / to / "y.png")) for to in "Ab")
    assert not np.array_equal(one, other)


def test_a_large_image_goes_through_in_tiles(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    picture(3, 150, 90).save(tmp_path / "large.png")
    code, _, err = called(
        capsys, "translate", runs / "pix2pix", tmp_path / "large.png", "--tile", 64, "--out", tmp_path / "out"
    )
    assert code == 0, err
    assert Image.open(tmp_path / "out" / "large.png").size == (150, 90)


@pytest.mark.parametrize(
    ("run", "given", "options", "words"),
    [
        ("mlp", "x.png", (), ["trained with the loss hinge", "cut, cyclegan, pix2pix"]),
        ("pix2pix", "x.png", ("--to", "a"), ["--to A", "translates to B only"]),
        ("cyclegan", "x.png", ("--to", "c"), ["translates to B and A only"]),
        ("cyclegan", "none.png", (), ["none.png: no such file or folder"]),
        ("cyclegan", "*.gif", (), ["matches no file"]),
        ("cyclegan", "empty", (), ["holds no images"]),
        ("cyclegan", "broken.png", (), ["not one image can be read"]),
    ],
)
def test_one_clear_error(
    runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    run: str,
    given: str,
    options: tuple[str, ...],
    words: list[str],
):
    picture(2, 20, 20).save(tmp_path / "x.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    code, out, err = called(capsys, "translate", runs / run, tmp_path / given, *options, "--out", tmp_path / "out")
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert all(word in err for word in words), err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "verb",
    [
        ("sample", "--out", "grid.png"),
        ("interpolate", "--out", "walk.gif"),
        ("interpret", "directions", "--out", "d.png"),
        ("export", "--out", "run.onnx"),
    ],
    ids=lambda verb: verb[0],
)
def test_verbs_of_samples_say_that_there_are_none(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: tuple[str, ...]
):
    name, *rest, out = verb
    code, _, said = called(capsys, name, runs / "pix2pix", *rest, tmp_path / out)
    assert code == 2
    assert "this run's generator draws no samples" in said
    assert not (tmp_path / out).exists()


def test_an_input_is_not_overwritten(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    picture(2, 20, 20).save(tmp_path / "x.png")
    before = (tmp_path / "x.png").read_bytes()
    code, _, err = called(capsys, "translate", runs / "cyclegan", tmp_path, "--out", tmp_path)
    assert code == 2
    assert "would be overwritten" in err
    assert (tmp_path / "x.png").read_bytes() == before
