"""`gandist classify`, the metric test-error and its picture, on a run that was really trained."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from gandist_datasets.digits import Digits
from gandist_metrics.confusion import confusion_matrix, drawn
from gandist_metrics.error_rate import ErrorRate
from PIL import Image
from typer.testing import CliRunner

import gandist
from gandist.cli.verbs import app
from gandist.config.resolve import resolve
from gandist.evaluation.evaluator import Evaluator
from gandist.training.loop import train
from gandist.training.surroundings import Surroundings
from gandist.using.evaluate import evaluate

CPU = torch.device("cpu")
SECTIONS = {
    "dataset": {"name": "digits", "size": 8, "labelled": 100},
    "architecture": {"name": "semi-supervised-mlp", "width": 64, "generator_width": 16, "noise": 0.1},
    "loss": "semi-supervised",
    "optimizer": {"discriminator": {"lr": 3e-3}},
    "train": {"images": 32 * 60, "batch_size": 32, "ema": {"half_life": 200, "players": ["discriminator"]}},
    "evaluate": {"every": 60, "metrics": ["test-error"]},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that tells digits well, with what its watchers were told in announced.json."""
    folder = tmp_path_factory.mktemp("runs") / "few"
    folder.mkdir()
    config = resolve({"run": {"name": "few"}, **SECTIONS})
    text = yaml.safe_dump(config.model_dump(mode="json"))
    (folder / "config.yaml").write_text(text)
    source, told = config.dataset.open(), {}

    def announce(hook: str, **facts):
        if hook == "gandist_on_evaluation":
            told["metrics"] = facts["metrics"]
        if hook == "gandist_on_pictures":
            told["pictures"] = {name: list(picture.shape) for name, picture in facts["pictures"].items()}

    around = Surroundings(
        folder=folder, config_text=text, evaluator=Evaluator(config, source, CPU), watch=lambda _: announce
    )
    train(config, source, around)
    (folder / "announced.json").write_text(json.dumps(told))
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 30 test scans as PNGs, the first of them larger."""
    folder = tmp_path_factory.mktemp("scans")
    images = Digits(size=8, split="test").open().read(range(30))["real"]
    for number, image in enumerate(images):
        picture = Image.fromarray(image[0].numpy())
        if number == 0:
            picture = picture.resize((40, 24))
        picture.save(folder / f"{number:02d}.png")
    return folder


def verb(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["classify", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def by_hand(run: Path, images: torch.Tensor) -> torch.Tensor:
    """Probabilities, from the discriminator of the run."""
    with torch.no_grad():
        classes = gandist.load(run).players["discriminator"](images.float() / 127.5 - 1).classes
    return classes.double().softmax(1)


def test_a_folder_becomes_a_table(run: Path, scans: Path, tmp_path: Path):
    out = tmp_path / "classes.csv"
    code, stdout, stderr = verb(run, scans, "--out", out, "--json")
    assert code == 0, stderr
    rows, answer = table(out), json.loads(stdout)
    assert (answer["images"], answer["resized"], answer["step"]) == (30, 1, 60)
    assert sum(answer["counts"].values()) == 30
    assert [row["file"] for row in rows] == [f"{number:02d}.png" for number in range(30)]
    assert list(rows[0]) == ["file", "class", "probability", *map(str, range(10))]
    shares = by_hand(run, Digits(size=8, split="test").open().read(range(1, 30))["real"])
    for row, share in zip(rows[1:], shares, strict=True):
        assert row["class"] == str(int(share.argmax()))
        assert [float(row[str(label)]) for label in range(10)] == pytest.approx(share.tolist(), abs=1e-6)
        assert float(row["probability"]) == pytest.approx(float(share.max()), abs=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["classes.csv"]


def test_a_file_and_an_npz(run: Path, scans: Path, tmp_path: Path):
    out = tmp_path / "one.csv"
    assert verb(run, scans / "03.png", "--out", out)[0] == 0
    (row,) = table(out)
    assert row["file"] == "03.png"
    images = Digits(size=8, split="test").open().read(range(5))["real"].permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "scans.npz", images=images)
    assert verb(run, tmp_path / "scans.npz", "--out", out)[0] == 0
    assert [row["file"] for row in table(out)] == ["0", "1", "2", "3", "4"]


def test_the_test_error_is_that_of_the_smoothed_classifier(run: Path):
    told = json.loads((run / "announced.json").read_text())
    held = Digits(size=8, split="test").open().read(range(360))
    wrong = (by_hand(run, held["real"]).argmax(1) != held["labels"]).double().mean()
    assert told["metrics"] == {"test_error": pytest.approx(float(wrong))}
    # Of a hundred labels much is learnt in 60 steps; nine of ten would be wrong by chance.
    assert told["metrics"]["test_error"] < 0.4
    assert evaluate(run, metrics=["test-error"])["test_error"] == pytest.approx(float(wrong))
    assert told["pictures"].keys() == {"test-error"}
    trained = gandist.load(run)
    assert not torch.equal(*(network.head.bias for network in (trained.discriminator, _unsmoothed(run))))


def _unsmoothed(run: Path) -> torch.nn.Module:
    from gandist.training import checkpoint

    newest, _ = checkpoint.newest(run / "checkpoints")
    assert newest is not None
    weights = checkpoint.load(newest)[0]
    network = gandist.load(run).config.architecture.build(gandist.load(run).facts)["discriminator"]
    start = "discriminator."
    network.load_state_dict({k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)})
    return network


def test_ranks_have_the_same_test_error(run: Path):
    from tests.small_runs import on_ranks

    told = json.loads((run / "announced.json").read_text())["metrics"]["test_error"]
    assert on_ranks(2, _measured, run) == [pytest.approx(told)] * 2


def _measured(rank: int, world: int, run: Path) -> float:
    trained = gandist.load(run)
    evaluator = Evaluator(trained.config, trained.config.dataset.open(), CPU)
    score = evaluator.measure(trained.players, 0)["test_error"]
    assert bool(evaluator.pictures) == (rank == 0)
    return score


def test_a_confusion_matrix_by_hand():
    matrix = confusion_matrix(torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 2, 2, 0]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    picture = drawn(matrix, ("a", "b", "c"))
    assert picture.dtype == torch.uint8
    assert picture.shape[0] == 3
    # A cell's corner: right answers are blue, wrong ones red, none white.
    side = (picture.shape[1] - 96 - 8) // 3
    corner = [
        [picture[:, 96 + row * side + 2, 96 + column * side + 2].tolist() for column in range(3)] for row in range(3)
    ]
    assert corner[0][2] == [255, 255, 255]
    assert corner[1][1] == [30, 30, 255]
    assert corner[2][0][0] == 255
    assert corner[2][0][1] < 255
    assert drawn(torch.ones(100, 100, dtype=torch.int64), tuple(map(str, range(100)))).shape == (3, 600, 600)


def test_data_without_labels_or_held_out_samples_are_refused():
    assert "needs held-out samples" in (ErrorRate().unfit(Digits().open()) or "")
    assert ErrorRate().unfit(Digits(split="train").open()) is None


@pytest.mark.parametrize("what", ["no classifier", "no folder", "empty", "broken", "ending", "nowhere", "no run"])
def test_one_error_and_nothing_written(what: str, run: Path, runs: Path, scans: Path, tmp_path: Path):
    given, images, out = run, scans, tmp_path / "out" / "classes.csv"
    out.parent.mkdir()
    said = {
        "no classifier": "was trained with non-saturating, which trains no classifier; semi-supervised",
        "no folder": "no such folder of images or .npz",
        "empty": "at least 1 image (.png, .jpg, .jpeg, .webp, .bmp) are needed, there are 0",
        "broken": "02.png: not a readable image",
        "ending": "should end in .csv",
        "nowhere": "there is no folder",
        "no run": "no such run folder; did you mean few?",
    }[what]
    if what == "no classifier":
        given = runs / "digits"
    elif what == "no folder":
        images = tmp_path / "nothing"
    elif what == "empty":
        images = tmp_path / "empty"
        images.mkdir()
    elif what == "broken":
        images = tmp_path / "broken"
        images.mkdir()
        (images / "01.png").write_bytes((scans / "01.png").read_bytes())
        (images / "02.png").write_bytes(b"\x89PNG no more")
    elif what == "ending":
        out = out.with_suffix(".xlsx")
    elif what == "nowhere":
        out = tmp_path / "nowhere" / "classes.csv"
    else:
        given = run.with_name("few1")
    code, stdout, stderr = verb(given, images, "--out", out)
    assert code == 2
    assert stdout == ""
    assert said.replace("; did you mean few?", "") in stderr
    assert "Traceback" not in stderr
    assert list((tmp_path / "out").iterdir()) == []
