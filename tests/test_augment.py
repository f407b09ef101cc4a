"""Labelled data sets from conditional generators."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled import Labelled
from PIL import Image
from torch import Tensor, nn
from trained_runs import train_conditional

from gandist import ConfigError, Facts, fitted_classifier
from gandist.cli import main
from gandist.config.resolve import resolve
from gandist.contract.components import Source
from gandist.using.augmenting.asked import alike, listed, missing
from gandist.using.augmenting.folder import folder_names, write_data_set
from gandist.using.augmenting.made import APART, Maker
from gandist.using.load import load
from gandist.using.trained import Trained


class Brightness(nn.Module):
    """A discriminator that finds bright images real."""

    divisor = 1

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return images.mean((1, 2, 3))


class Judge(nn.Module):
    """A classifier that tells three classes by their brightness, and is sure of some of the dark ones only."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(1, 3)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        level = images.float().mean((1, 2, 3)) / 127.5 - 1
        return level[:, None], -((level[:, None] - torch.tensor([-0.49, -0.51, 0.5])) ** 2) * 20_000


@pytest.fixture
def labelled(digits: Trained) -> Trained:
    facts = Facts((1, 8, 8), 3, 30, "labelled", ("dark", "grey/dim", "bright"))
    return Trained(Path("labelled"), digits.config, facts, 1, Labelled().eval(), lambda name: Brightness())


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_conditional(tmp_path_factory.mktemp("conditional") / "digits")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_data_set_has_a_folder_a_class_and_a_table(labelled: Trained, tmp_path: Path):
    found = write_data_set(Maker(labelled), {0: 70, 1: 2, 2: 0}, tmp_path / "new" / "made", seed=4)
    folder = tmp_path / "new" / "made"
    assert (found["images"], found["tried"], found["share_kept"]) == (72, 72, 1.0)
    assert found["by_class"] == {"dark": {"kept": 70, "tried": 70}, "grey/dim": {"kept": 2, "tried": 2}}
    assert sorted(path.name for path in folder.iterdir()) == ["dark", "grey-dim", "labels.csv"]
    assert [path.name for path in folder.parent.iterdir()] == ["made"], "nothing temporary is left"
    table = rows(folder)
    assert [row["file"] for row in table] == sorted(content(folder).keys() - {"labels.csv"})
    for row in (table[0], table[69], table[71]):
        image = np.array(Image.open(folder / row["file"]))
        one = labelled.sample(1, int(row["seed"]), int(row["label"]), int(row["sample"]))
        assert np.abs(image.astype(int) - one[0, 0].numpy()).max() <= 1
        assert Image.open(folder / row["file"]).info["gandist:label"] == row["label"]
    assert (table[71]["class"], table[71]["sample"]) == ("grey/dim", str(APART + 1))


def test_images_are_a_function_of_seed_class_and_number(labelled: Trained, tmp_path: Path):
    for name, counts, seed in (("few", 3, 1), ("many", 80, 1), ("again", 80, 1), ("other", 3, 2)):
        write_data_set(Maker(labelled), {0: counts, 1: counts}, tmp_path / name, seed)
    few, many, again, other = (content(tmp_path / name) for name in ("few", "many", "again", "other"))
    assert many == again
    assert all(many[name] == few[name] for name in few if name != "labels.csv")
    assert few["dark/000000.png"] != other["dark/000000.png"]
    # No two classes show the same latents.
    dark, grey = (Image.open(tmp_path / "few" / name / "000000.png") for name in ("dark", "grey-dim"))
    difference = np.array(grey).astype(int) - np.array(dark)
    assert difference.std() > 10


def test_the_discriminator_keeps_the_best_share(labelled: Trained, tmp_path: Path):
    found = write_data_set(Maker(labelled, keep=0.25), {1: 40}, tmp_path / "best")
    assert found["by_class"]["grey/dim"] == {"kept": 40, "tried": 192}
    first = labelled.sample(64, 0, 1, APART).float().mean((1, 2, 3))
    best = {APART + int(index) for index in first.topk(16).indices}
    assert {int(row["sample"]) for row in rows(tmp_path / "best")[:16]} == best
    assert float(rows(tmp_path / "best")[0]["realness"]) == pytest.approx(
        float(first[int(rows(tmp_path / "best")[0]["sample"]) - APART]) / 127.5 - 1, abs=1e-5
    )


def test_a_judge_keeps_what_it_takes_for_the_class(labelled: Trained, tmp_path: Path):
    judge = Judge()
    found = write_data_set(Maker(labelled, agree=0.9, judge=judge), {0: 30, 2: 30}, tmp_path / "sure")
    assert found["images"] == 60 < found["tried"]
    for row in rows(tmp_path / "sure"):
        image = torch.from_numpy(np.array(Image.open(tmp_path / "sure" / row["file"])))[None, None]
        said = judge(image)[1].softmax(1)[0, int(row["label"])]
        assert float(said) >= 0.9
        assert float(row["agreement"]) == pytest.approx(float(said), abs=1e-4)
    tried = int(rows(tmp_path / "sure")[29]["sample"]) + 1
    assert found["by_class"]["dark"] == {"kept": 30, "tried": tried}
    more = write_data_set(Maker(labelled, keep=0.5, agree=0.9, judge=judge), {0: 30}, tmp_path / "both")
    # A block is looked at as a whole for its best.
    assert tried <= more["tried"]
    assert more["tried"] % 64 == 0


class Contrary(Judge):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = super().forward(images)
        return features, -logits


def test_a_filter_that_passes_nothing_ends(labelled: Trained, tmp_path: Path):
    maker = Maker(labelled, agree=0.99, judge=Contrary())
    with pytest.raises(ConfigError, match=r"class dark: none of 1,024 samples passed --agree 0.99, and 5 are wanted"):
        write_data_set(maker, {0: 5}, tmp_path / "none")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("keep", "agree"), [(0.0, None), (1.5, None), (None, 0.0), (None, 1.0)])
def test_shares_that_are_none(labelled: Trained, keep: float | None, agree: float | None):
    with pytest.raises(ConfigError, match=r"--(keep|agree) [0-9.]+: "):
        Maker(labelled, keep, agree)


def test_counts_go_by_name_or_label(labelled: Trained, tmp_path: Path):
    facts = labelled.facts
    assert alike(facts, 5) == {0: 5, 1: 5, 2: 5}
    assert listed(facts, "{bright: 3, 0: 2}") == {0: 2, 2: 3}
    (tmp_path / "counts.yaml").write_text("grey/dim: 7\n")
    assert listed(facts, str(tmp_path / "counts.yaml")) == {1: 7}
    for given, message in {
        "{brigth: 3}": "no class brigth; classes: dark, grey/dim, bright; did you mean bright",
        "{3: 1}": "no class 3",
        "{dark: -1}": "class dark should be a number of images from 0 to 1,000,000, is -1",
        "{dark: 1.5}": "class dark should be a number of images",
        "{dark: 1, 0: 1}": "class 0 is there twice",
        "{dark: 0}": "asks for no image at all",
        "{dark: [1]}": "write a mapping of classes to numbers",
        "[1]": "cannot be read as a file",
        "{dark: 1": "cannot be read as YAML",
        "nowhere.yaml": "No such file",
    }.items():
        with pytest.raises(ConfigError, match=message):
            listed(facts, given)


class Uneven(Source):
    """Labels 0, 1, 1, 2, 2, 2, and so on."""

    def __init__(self, counts: list[int]):
        self.all = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
        self.facts = Facts((1, 8, 8), len(counts), len(self.all), "uneven")

    def read(self, indices) -> dict[str, Tensor]:
        chosen = self.all[torch.as_tensor(list(indices))]
        return {"real": torch.zeros(len(chosen), 1, 8, 8, dtype=torch.uint8), "labels": chosen}


def test_balance_fills_up_to_the_largest():
    assert missing(Uneven([1, 2500, 2])) == {0: 2499, 1: 0, 2: 2498}
    with pytest.raises(ConfigError, match="all 2 classes have 3 images already"):
        missing(Uneven([3, 3]))


def test_folders_have_names_that_every_file_system_takes():
    facts = Facts((1, 8, 8), 4, 30, "x", ("a/b", "a:b", "...", "A-B"))
    assert folder_names(facts) == ("a-b", "a-b-1", "class-2", "A-B-3")
    assert folder_names(Facts((1, 8, 8), 12, 30, "x"))[:2] == ("00", "01")


def test_gandist_and_others_read_what_is_written(conditional: Path, tmp_path: Path):
    out = tmp_path / "made"
    counts = "{3: 5, 8: 3, 0: 2}"
    assert main(["augment", str(conditional), "--counts", counts, "--seed", "5", "--out", str(out)]) == 0
    given = {"dataset": {"name": "image-folder", "root": str(out), "size": 16, "channels": 1}}
    source = resolve({**given, "run": {"name": "x"}, "architecture": "dcgan", "loss": "hinge"}).dataset.open()
    assert source.facts.class_names == ("0", "3", "8")
    read = source.read(range(10))
    assert read["labels"].tolist() == [0] * 2 + [1] * 5 + [2] * 3
    # Without scaling, they are the very pixels.
    made = load(conditional).sample(5, 5, 3, 3 * APART)
    assert (read["real"][2:7].int() - made.int()).abs().max() <= 1
    # The rule of torchvision's ImageFolder and of Keras' image_dataset_from_directory: folders in the order of names.
    folders = sorted(path for path in out.iterdir() if path.is_dir())
    files = [file for folder in folders for file in sorted(folder.iterdir())]
    assert [str(file.relative_to(out)) for file in files] == [row["file"] for row in rows(out)]


@pytest.mark.slow
@pytest.mark.arithmetic
def test_the_classifier_agrees_with_what_it_let_through(conditional: Path, tmp_path: Path):
    trained = load(conditional)
    classifier = fitted_classifier(trained.config.dataset.open(), trained.device)
    # After a few steps little is a digit, but most of what is made looks like some of them.
    said = classifier(trained.sample(256, label=1, start=APART))[1].softmax(1)[:, 1]
    least = float(said.quantile(0.9))
    given = ["--counts", '{"1": 4}', "--agree", str(least), "--out", str(tmp_path / "made")]
    assert main(["augment", str(conditional), *given]) == 0
    numbers = [int(row["sample"]) - APART for row in rows(tmp_path / "made")]
    assert numbers == (said >= least).nonzero()[:4, 0].tolist()


def test_mistakes_are_told_before_anything_is_made(
    runs: Path, conditional: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, made = str(conditional), ["--out", str(tmp_path / "made")]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").write_text("")
    for arguments, message in (
        ([str(runs / "digits"), "--per-class", "1", *made], "heeds no labels.*configs/conditional-digits.yaml"),
        ([str(runs / "ring"), "--per-class", "1", *made], "makes points"),
        ([run, "--per-class", "1", "--out", str(tmp_path / "full")], "is not empty; give a new folder"),
        ([run, "--per-class", "1", "--out", str(tmp_path / "full" / "photo.jpg")], "is a file"),
        ([run, "--per-class", "1", "--out", str(tmp_path / "full" / "photo.jpg" / "x")], "cannot be written"),
        ([run, "--per-class", "1"], "give --out FOLDER"),
        ([run, *made], "say how many images with one of --per-class N, --counts or --balance, e.g."),
        ([run, "--per-class", "1", "--balance", *made], "not --per-class and --balance together"),
        ([run, "--per-class", "1", "--real", "3", *made], "--real belongs to --measure"),
        ([run, "--measure", *made], "--measure writes no images, so it does not take --out"),
        ([run, "--counts", "{cat: 1}", *made], "there is no class cat"),
        ([run, "--per-class", "1", "--keep", "2", *made], "--keep 2: the best share"),
    ):
        assert main(["augment", *arguments]) == 2, arguments
        error = capsys.readouterr().err
        assert re.search(message, error), error
        assert "Traceback" not in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


def test_balance_of_a_run(conditional: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "made"
    assert main(["augment", str(conditional), "--balance", "--json", "--no-metadata", "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    labels = load(conditional).config.dataset.open().read(range(1437))["labels"]
    counted = torch.bincount(labels)
    lacking = {str(label): int(counted.max() - count) for label, count in enumerate(counted)}
    assert {name: one["kept"] for name, one in found["by_class"].items()} == {n: c for n, c in lacking.items() if c}
    assert b"gandist" not in next(out.rglob("*.png")).read_bytes()
