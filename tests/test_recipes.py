"""`gandist check` passes on every shipped config, on data in the layout of the real ones."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gandist_datasets import cifar10
from gandist_datasets.presets import FashionMnist, Kmnist, Mnist
from PIL import Image

from gandist import ConfigError
from gandist.cli import main
from gandist.config.check import check
from gandist.config.compose import compose
from gandist.config.resolve import resolve
from gandist.config.schema import Config
from gandist.evaluation.metrics import validate

pytestmark = pytest.mark.arithmetic

ROOT = Path(__file__).parents[1]
RECIPES = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "configs").rglob("*.yaml")
    if path.parent.name != "base" and not path.name.startswith("sweep-")
)
PRESETS = {preset.name: preset for preset in (Mnist, FashionMnist, Kmnist)}
COUNT = 1000


def images(seed: int, *shape: int) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with small data sets where downloads would lie, and a folder of images beside them."""
    cache = tmp_path_factory.mktemp("data")
    labels = (np.arange(COUNT) % 10).astype(np.uint8)
    for name in PRESETS:
        folder = cache / "datasets" / name
        folder.mkdir(parents=True)
        for part in ("train", "t10k"):
            (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(images(1, COUNT, 28, 28)))
            (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    (cache / "datasets" / "cifar10").mkdir()
    records = np.concatenate([labels[:8, None], images(2, 8, 3072)], axis=1).tobytes()
    with tarfile.open(cache / "datasets" / "cifar10" / cifar10.ARCHIVE.name, "w:gz") as archive:
        for batch in (*cifar10.BATCHES["train"], *cifar10.BATCHES["test"]):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{batch}")
            member.size = len(records)
            archive.addfile(member, io.BytesIO(records))
    (cache / "images").mkdir()
    for number in range(12):
        Image.fromarray(images(number, 40, 50, 3)).save(cache / "images" / f"{number}.png")
        for part in ("trainA", "trainB", "testA", "testB"):
            (cache / "pairs" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(images(number, 70, 70, 3)).save(cache / "pairs" / part / f"{number}.png")
    rows = "\n".join(f"{row % 7},{row % 5}" for row in range(600))
    (cache / "rows.csv").write_text(f"amount,hour\n{rows}\n")
    return cache


def resolved(recipe: Path, data: Path, *overrides: str) -> Config:
    return resolve(compose(recipe, [*root(recipe, data), *overrides]))


def root(recipe: Path, data: Path) -> list[str]:
    """What its first line leaves to the user."""
    yours = {
        "folders": "images",
        "image-to-image": "images" if recipe.stem == "denoise" else "pairs",
        "anomaly": "rows.csv" if recipe.stem.startswith("table") else "",
    }.get(recipe.parts[1])
    return [f"dataset.root={data / yours}"] if yours else []


@pytest.fixture
def here(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("GANDIST_CACHE", str(data))


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_the_data_and_all_rules_fit(recipe: Path, data: Path, here: None) -> None:
    """Everything but the full size: what a recipe says of widths is checked below, once for each."""
    config = resolved(recipe, data)
    narrow = config.architecture.model_copy(update=NARROW.get(config.architecture.name, {}))
    opened = check(config.model_copy(update={"architecture": narrow}), metric_problems=validate)
    assert opened.source.facts.size > 0
    assert opened.warnings == ()
    size = opened.source.facts.shape[-1]
    assert config.architecture.refuse(opened.source.facts) is None, "the recipe's own widths fit the images"
    if recipe.parts[1] == "folders":
        assert str(size) in recipe.stem


NARROW: dict[str, dict[str, Any]] = {
    "stylegan2": {"channel_base": 256, "channel_max": 8, "latent": 8, "style": 8},
    "r3gan": {"width": 128, "group": 4},
    "biggan": {"width": 4},
    "sngan-resnet": {"width": 8},
    "dcgan": {"width": 8},
}
"""Widths that change no rule: what is checked at full size takes minutes for images of 1024 pixels."""


LARGE = ("256", "512", "1024")
"""Sizes whose networks take half a minute to build and try at full width, by hand: gandist check."""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if not recipe.stem.endswith(LARGE)], ids=str)
def test_the_command_passes_on_every_recipe(
    recipe: Path, data: Path, here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    # The run that a second stage begins with is not there.
    alone = ["start=null"] if resolved(recipe, data).start else []
    assert main(["check", str(recipe), *root(recipe, data), *alone]) == 0
    assert f"{recipe}: no problems" in capsys.readouterr().out


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if recipe.parts[1] == "folders"][:2], ids=str)
def test_a_missing_folder_is_told(recipe: Path, here: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(recipe)]) == 2
    said = capsys.readouterr().err
    assert "dataset.root" in said
    assert "there is no folder" in said
    assert "set dataset.root to yours" in said


def test_data_that_cannot_be_downloaded_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("GANDIST_CACHE", str(tmp_path))
    monkeypatch.setattr(cifar10, "SERVERS", ("http://127.0.0.1:9/",))
    assert main(["check", "configs/cifar10/sngan.yaml"]) == 2
    said = capsys.readouterr().err
    for part in (cifar10.ARCHIVE.name, str(tmp_path), "dataset.root", "http://127.0.0.1:9/"):
        assert part in said


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_recipe_says_its_published_score_and_protocol(recipe: Path) -> None:
    text = (ROOT / recipe).read_text(encoding="utf-8")
    header = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    if recipe.parts[1] in ("cifar10", "folders"):
        assert "# Published: " in header
        assert "# Not as there: " in header
        published = header.partition("# Published: ")[2].partition("# Not as there")[0]
        if "FID" in published:
            assert "Inception" in published
            assert "samples" in published


def test_length_and_average_are_those_of_the_papers() -> None:
    """What was converted into images seen."""
    sngan = resolve(compose(ROOT / "configs/cifar10/sngan.yaml"))
    assert (sngan.steps, sngan.images_per_step) == (50_000, 5 * 64)
    biggan = resolve(compose(ROOT / "configs/cifar10/biggan-diffaugment.yaml"))
    assert (biggan.steps, biggan.images_per_step) == (250_000, 4 * 50)
    stays = 0.5 ** (biggan.images_per_step / biggan.train.ema.half_life)
    assert stays == pytest.approx(0.9999, abs=1e-6)
    assert resolve(compose(ROOT / "configs/cifar10/wgan-gp.yaml")).steps == 100_000


def test_a_recipe_of_another_size_is_refused(data: Path, here: None) -> None:
    with pytest.raises(ConfigError, match="makes square images of 32, 64 or 128 pixels"):
        check(resolved(Path("configs/cifar10/sngan.yaml"), data, "dataset.size=48"))
