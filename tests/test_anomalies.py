"""Scores of anomalies against other formulas, and the verb that gives them."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from gandist_architectures.dcgan_encoder import DcganEncoder
from gandist_datasets import table_reading
from gandist_datasets.one_class import OneClass
from gandist_datasets.table_encoding import Encoding
from gandist_losses.f_anogan import FAnoGan
from gandist_losses.nearest_generated import NearestGenerated
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from gandist import ConfigError, Facts, Noise, auroc, average_precision
from gandist.cli.verbs import app
from gandist.testing.datasets import check_dataset
from gandist.testing.losses import check_loss
from gandist.testing.tiny import RandomSamples


@pytest.mark.parametrize("ties", [False, True])
def test_areas_equal_counting_all_pairs(ties: bool):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(60, generator=generator, dtype=torch.float64)
    scores = scores.round() if ties else scores
    positive = torch.rand(60, generator=generator) < 0.3
    pairs = [(a, b) for a in scores[positive].tolist() for b in scores[~positive].tolist()]
    won = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)
    assert auroc(scores, positive) == pytest.approx(won, abs=1e-12)
    precisions = [
        float(positive[scores >= scores[i]].double().mean()) for i in torch.nonzero(positive).flatten().tolist()
    ]
    assert average_precision(scores, positive) == pytest.approx(sum(precisions) / len(precisions), abs=1e-12)


def test_areas_equal_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is a benchmark's, and not installed")
    scores, positive = torch.randn(500).mul(4).round(), torch.rand(500) < 0.1
    assert auroc(scores, positive) == pytest.approx(metrics.roc_auc_score(positive, scores))
    assert average_precision(scores, positive) == pytest.approx(metrics.average_precision_score(positive, scores))


def test_areas_are_nan_where_one_kind_is_missing():
    scores = torch.tensor([1.0, 2.0])
    assert math.isnan(auroc(scores, torch.tensor([True, True])))
    assert math.isnan(average_precision(scores, torch.tensor([False, False])))


class Line(nn.Module):
    """Makes points on a line."""

    def draw(self, noise: Noise, n: int) -> Tensor:
        return noise.normal(n, 1)

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        return torch.cat([latents, 2 * latents + 100], dim=1)


def test_the_distance_to_a_near_generated_point_is_the_score():
    loss, players = NearestGenerated(latents=50, neighbour=3), {"generator": Line()}
    samples = torch.randn(7, 2, dtype=torch.float64) + 100
    made = loss.generated(players["generator"], samples)
    expected = [sorted(math.dist(s, m) for m in made.tolist())[2] for s in samples.tolist()]
    torch.testing.assert_close(loss.anomaly(players, samples), torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(loss.anomaly(players, samples[2:3]), loss.anomaly(players, samples)[2:3])


ENCODED = DcganEncoder(width=4, latent=6)


def f_anogan_players() -> dict[str, nn.Module]:
    players = ENCODED.players(Facts((1, 16, 16), 0, 9, "x"), 0)
    return {name: player.double().eval() for name, player in players.items()}


def test_f_anogans_score_is_the_papers():
    loss, players = FAnoGan(kappa=0.7, blur=3), f_anogan_players()
    images = torch.rand(3, 1, 16, 16, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        again = players["generator"](players["encoder"](images))
        layers: Any = players["discriminator"].body[:-1]
        features = [layers(part) for part in (images, again)]
        expected = [
            ((x - y) ** 2).sum() / 256 + 0.7 * ((f - g) ** 2).sum() / f.numel()
            for x, y, f, g in zip(images, again, *features, strict=True)
        ]
        torch.testing.assert_close(loss.anomaly(players, images), torch.stack(expected))
        heat = loss.heatmap(players, images)
        assert heat.shape == (3, 16, 16)
        torch.testing.assert_close(heat[1, 4, 7], (images - again)[1, 0, 3:6, 6:9].abs().mean())


@pytest.mark.slow
@pytest.mark.arithmetic
def test_f_anogan_passes_the_checks():
    check_loss(FAnoGan(), architecture=ENCODED, dataset=RandomSamples(shape=(1, 16, 16), classes=0), batch_size=4)


DIGITS = {"name": "digits"}


def test_one_class_is_trained_on_and_all_are_held_out():
    dataset = OneClass.model_validate({"of": DIGITS, "normal": 3, "train": 0.5})
    source, whole = dataset.open(), dataset.of.open()
    held = source.held_out()
    assert held is not None
    labels = whole.read(range(len(whole)))["labels"]
    threes = int((labels == 3).sum())
    assert len(source) == threes // 2
    assert len(held) == len(whole) - len(source)
    rows = held.read(range(len(held)))
    assert int((~rows["anomalous"]).sum()) == threes - len(source)
    check_dataset(dataset)
    other = OneClass.model_validate({"of": DIGITS, "normal": 3, "test": DIGITS}).open()
    assert len(other) == threes
    unseen = other.held_out()
    assert unseen is not None
    assert torch.equal(unseen.read(range(len(whole)))["anomalous"], labels != 3)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"of": DIGITS, "normal": 10}, "dataset.normal: there is no class 10; classes are 0, 1"),
        ({"of": {"name": "gaussians"}, "normal": "mode"}, "there is no class 'mode'; classes are 0 to 7"),
        ({"of": DIGITS, "normal": 1, "test": {"name": "digits", "size": 16}}, "dataset.test: has samples of"),
    ],
)
def test_classes_that_are_not_there_are_refused(fields: dict[str, Any], says: str):
    with pytest.raises(ConfigError, match=says):
        OneClass.model_validate(fields).open()


TABLE = """\
dataset: {name: table, root: rows.npz}
architecture: {name: mlp, width: 16, depth: 2, latent: 4}
loss: {name: nearest-generated, gamma: 0.1, latents: 256}
optimizer: {generator: {lr: 2.0e-3, betas: [0.0, 0.99]}, discriminator: {lr: 2.0e-3, betas: [0.0, 0.99]}}
train: {images: 19200, batch_size: 64, ema: {half_life: 2000}, sample_every: 0}
evaluate: {every: 300, metrics: [anomalies]}
cluster: {workers: 0}
"""


def run(*arguments: str) -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, list(arguments))
    return ended.exit_code, ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory):
    """A folder with a trained run, a table, and a new one."""
    folder = tmp_path_factory.mktemp("score")
    draws = np.random.RandomState(0)
    normal = draws.standard_normal((1200, 2)) * [1, 0.1] + [5, -3]
    strange = draws.standard_normal((40, 2)) * [1, 0.1] + [5, -1]
    np.savez(folder / "rows.npz", X=np.concatenate([normal, strange]), y=np.arange(1240) >= 1200)
    lines = ["x1,x0", "-3.0,5.0", "7.5,5.0"]
    (folder / "new.csv").write_text("\n".join(lines))
    (folder / "rows.yaml").write_text(TABLE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code, said, wrong = run("train", "rows.yaml", "--json")
    assert code == 0, wrong
    assert json.loads(said)["metrics"]["auroc"] > 0.99
    assert (folder / "runs" / "rows" / "pictures" / "anomalies-step-00000300.png").is_file()
    return folder


def test_a_table_is_scored_with_a_threshold_from_held_out_normal_rows(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place)
    code, said, wrong = run("score", "runs/rows", "rows.npz", "--out", "all.csv", "--false-alarms", "0.05", "--json")
    assert code == 0, wrong
    told = json.loads(said)
    rows = list(csv.DictReader((place / "all.csv").open()))
    assert (told["items"], told["anomalous"], told["calibrated_on"]) == (1240, 40, 600)
    assert told["auroc"] > 0.99
    flagged = [row for row in rows if row["flagged"] == "1"]
    assert len(flagged) == told["flagged"]
    # Those that the threshold comes from are among them.
    assert sum(row["anomalous"] == "0" for row in flagged) / 1200 == pytest.approx(0.05, abs=0.03)
    for row in rows:
        assert (float(row["p_value"]) <= 0.05) == (row["flagged"] == "1")


def test_another_table_is_scored_without_the_training_data(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place)
    assert run("score", "runs/rows", "new.csv", "--out", "new-scores.csv")[0] == 0
    (place / "rows.npz").rename(place / "away.npz")
    try:
        code, _, wrong = run("score", "runs/rows", "new.csv", "--out", "again.csv")
        assert code == 0, wrong
    finally:
        (place / "away.npz").rename(place / "rows.npz")
    assert (place / "again.csv").read_text() == (place / "new-scores.csv").read_text()
    usual, strange = csv.DictReader((place / "again.csv").open())
    assert (usual["flagged"], strange["flagged"]) == ("0", "1")
    assert "anomalous" not in usual


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
def test_a_table_passes_through_in_pieces(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str):
    with np.load(place / "rows.npz") as arrays:
        rows, target = arrays["X"], arrays["y"].astype(int)
    columns = {"x0": rows[:, 0], "x1": rows[:, 1], "y": target}
    table = pa.table(columns)
    monkeypatch.chdir(tmp_path)
    if ending == "csv":
        pyarrow.csv.write_csv(table, "rows.csv")
    elif ending == "parquet":
        pyarrow.parquet.write_table(table, "rows.parquet", row_group_size=400)
    else:
        np.savez_compressed("rows.npz", X=rows, y=target)
    code, said, wrong = run("score", str(place / "runs/rows"), f"rows.{ending}", "--out", "whole.csv", "--json")
    assert code == 0, wrong
    monkeypatch.setattr(table_reading, "BLOCK", 2048)
    monkeypatch.setattr(table_reading, "ROWS", 90)
    seen, encode = [], Encoding.encode
    monkeypatch.setattr(Encoding, "encode", lambda self, piece: seen.append(piece.count) or encode(self, piece))
    code, again, wrong = run("score", str(place / "runs/rows"), f"rows.{ending}", "--out", "pieces.csv", "--json")
    assert code == 0, wrong
    assert sum(seen) == 1240
    assert max(seen) <= 90
    assert {**json.loads(again), "out": ""} == {**json.loads(said), "out": ""}
    assert Path("pieces.csv").read_text() == Path("whole.csv").read_text()


def test_what_is_wrong_at_the_end_of_a_table_leaves_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(table_reading, "BLOCK", 2048)
    (tmp_path / "long.csv").write_text("\n".join(["x0,x1", *["5,-3"] * 5000, "5,three"]))
    given = ["score", str(place / "runs/rows"), str(tmp_path / "long.csv"), "--out", str(tmp_path / "scores.csv")]
    code, _, wrong = run(*given)
    assert code == 2
    assert "column 'x1' holds 'three', which is no number" in wrong
    (tmp_path / "long.csv").write_text("x0,x1\n")
    code, _, wrong = run(*given)
    assert code == 2
    assert "long.csv: holds nothing to score" in wrong
    assert [path.name for path in tmp_path.iterdir()] == ["long.csv"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["runs/rows", "nowhere.csv"], "nowhere.csv: there is no such file or folder"),
        (["runs/rows", "new.csv", "--false-alarms", "0.001"], "needs at least 999 held-out normal samples, there are"),
        (["runs/rows", "new.csv", "--false-alarms", "1.5"], "should be a share between 0 and 1"),
        (["runs/rows", "new.csv", "--heatmaps", "maps"], "--heatmaps maps: nearest-generated makes none"),
        (["runs/rows", "rows.yaml"], "rows.yaml is no table that can be read"),
        (["runs/row", "new.csv"], "did you mean rows?"),
    ],
)
def test_what_cannot_be_scored_is_named(place: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    code, _, wrong = run("score", *arguments, "--out", "scores-of-nothing.csv")
    assert code == 2
    assert says in wrong
    assert "Traceback" not in wrong
    assert [path for path in sorted(place.rglob("*")) if path.name != "normal-scores.safetensors"] == [
        path for path in before if path.name != "normal-scores.safetensors"
    ]


def picture(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images, some with a white corner and a mask of it."""
    root = tmp_path_factory.mktemp("products")
    draws = np.random.RandomState(0)
    for n in range(24):
        picture(root / "train" / "good" / f"{n}.png", draws.randint(90, 110, (16, 16)))
        picture(root / "test" / "good" / f"{n}.png", draws.randint(90, 110, (16, 16)))
    for n in range(4):
        pixels, mask = draws.randint(90, 110, (16, 16)), np.zeros((16, 16))
        pixels[:6, :6] = mask[:6, :6] = 255
        picture(root / "test" / "scratch" / f"{n}.png", pixels)
        picture(root / "ground_truth" / "scratch" / f"{n}_mask.png", mask)
    return root


DEFECTS = """\
dataset: {name: defect-folder, root: ROOT, size: 16, channels: 1, loaders: 0}
architecture: {name: dcgan-encoder, width: 4, latent: 4}
loss: {name: wgan-gp, d_steps: 1}
train: {images: 256, batch_size: 8, sample_every: 0}
cluster: {workers: 0}
"""


def test_two_stages_find_and_show_defects(products: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("gan.yaml").write_text(DEFECTS.replace("ROOT", str(products)))
    Path("encoder.yaml").write_text(
        "extends: gan.yaml\nloss: {name: f-anogan, blur: 1}\n"
        "start: {from: runs/gan, players: [generator, discriminator]}\n"
        "train: {images: 640}\nevaluate: {every: 1000, metrics: [anomalies, pixel-auroc]}\n"
    )
    assert run("train", "gan.yaml")[0] == 0
    code, said, wrong = run("train", "encoder.yaml", "--json")
    assert code == 0, wrong
    scores = json.loads(said)["metrics"]
    assert scores["auroc"] > 0.9
    assert scores["pixel_auroc"] > 0.9
    given = ["runs/encoder", str(products), "--out", "s.csv", "--heatmaps", "maps", "--false-alarms", "0.1", "--json"]
    code, said, wrong = run("score", *given)
    assert code == 0, wrong
    assert json.loads(said)["auroc"] == pytest.approx(scores["auroc"])
    heat = np.asarray(Image.open("maps/test/scratch/0.png"))
    assert heat[:6, :6].mean() > 2 * heat[8:, 8:].mean()
    assert len(list(Path("maps").rglob("*.png"))) == 28
    code, _, wrong = run("score", *given)
    assert code == 2
    assert "--heatmaps maps: exists" in wrong


def test_masks_of_another_size_and_missing_ones_are_named(products: Path, tmp_path: Path):
    from gandist_datasets.defect_folder import DefectFolder

    check_dataset(DefectFolder(root=str(products), size=16, channels=1))
    for part in ("train/good", "test/scratch", "ground_truth/scratch"):
        for path in (products / part).iterdir():
            picture(tmp_path / part / path.name, np.asarray(Image.open(path)))
    dataset = DefectFolder(root=str(tmp_path), size=16, channels=1)
    picture(tmp_path / "ground_truth" / "scratch" / "1_mask.png", np.zeros((8, 16)))
    held = dataset.open().held_out()
    assert held is not None
    with pytest.raises(ConfigError, match=r"1_mask.png has 16×8 pixels, its image test/scratch/1.png 16×16"):
        held.read([1])
    (tmp_path / "ground_truth" / "scratch" / "1_mask.png").unlink()
    with pytest.raises(ConfigError, match=r"there is no mask .*1_mask.png of"):
        dataset.open()
    with pytest.raises(ConfigError, match="train/good holds 0 images"):
        DefectFolder(root=str(tmp_path / "test")).open()
