"""ALAD: its losses and its score by hand, its architectures on ranks, and runs of it on a table and on images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gandist_architectures.alad_conv import AladConv
from gandist_architectures.alad_mlp import AladMlp
from gandist_losses.alad import Alad
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from typer.testing import CliRunner

from gandist import Architecture, Facts, Turn
from gandist.cli.verbs import app
from gandist.contract.turn import Moment, Span
from gandist.testing.losses import check_loss
from gandist.testing.tiny import RandomSamples
from gandist.testing.trial import Trial, difference, play, play_in_two_goes

MLP = AladMlp(width=8, depth=1, latent=3, norm="none")
CONV = AladConv(width=2, latent=3, norm="none")
POINTS, IMAGES = RandomSamples(shape=(4,), classes=0), RandomSamples(shape=(1, 16, 16), classes=0)


def players(architecture: Architecture, shape: tuple[int, ...]) -> dict[str, Any]:
    made = architecture.players(Facts(shape, 0, 9, "x"), 0)
    return {name: player.double().eval() for name, player in made.items()}


def turn_of(role: str, networks: dict[str, nn.Module], real: Tensor) -> Turn:
    count = len(real)
    return Turn(networks, role, {"real": real}, Span(0, count, count), Moment(3, 5, 0, 5), dtype=torch.float64)


@pytest.mark.parametrize(("architecture", "shape"), [(MLP, (4,)), (CONV, (1, 16, 16))], ids=["mlp", "conv"])
def test_the_losses_are_the_papers(architecture: Architecture, shape: tuple[int, ...]):
    networks, loss = players(architecture, shape), Alad()
    x = torch.rand(5, *shape, dtype=torch.float64) * 2 - 1
    z = turn_of("generator", networks, x).latents
    generate, encode, judges = networks["generator"], networks["encoder"], networks["discriminators"]
    ones, zeros = torch.ones(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)

    def pair(one: Tensor, other: Tensor) -> Tensor:
        return torch.cat([one, other], 1)

    with torch.no_grad():
        made = generate(z)
        on = {
            "xz": (judges.xz(x, encode(x)), judges.xz(made, z)),
            "xx": (judges.xx(pair(x, x)).logits, judges.xx(pair(x, generate(encode(x)))).logits),
            "zz": (judges.zz(pair(z, z)).logits, judges.zz(pair(z, encode(made))).logits),
        }
    told = {name: cross_entropy(one, ones) + cross_entropy(other, zeros) for name, (one, other) in on.items()}
    cycles = cross_entropy(on["xx"][1], ones) + cross_entropy(on["zz"][1], ones)
    expected = {
        "discriminators": sum(told.values()),
        "generator": cross_entropy(on["xz"][1], ones) + cycles,
        "encoder": cross_entropy(on["xz"][0], zeros) + cycles,
    }
    for role, total in expected.items():
        terms = loss.method(role)(turn_of(role, networks, x))
        torch.testing.assert_close(terms["total"].detach(), total)
        torch.testing.assert_close(terms["total"], terms["xz"] + terms["xx"] + terms["zz"])
    terms = loss.discriminators(turn_of("discriminators", networks, x))
    for name, value in told.items():
        torch.testing.assert_close(terms[name].detach(), value)


def test_the_score_is_the_papers():
    networks, loss = players(MLP, (4,)), Alad()
    x = torch.randn(6, 4, dtype=torch.float64)
    layer = networks["discriminators"].xx.body[0]
    with torch.no_grad():
        again = networks["generator"](networks["encoder"](x))
        expected = []
        for own, other in zip(x, again, strict=True):
            total = 0.0
            for weight, bias in zip(layer.weight, layer.bias, strict=True):
                one, two = (float(weight @ torch.cat([own, second]) + bias) for second in (own, other))
                total += abs(max(one, 0.2 * one) - max(two, 0.2 * two))
            expected.append(total)
        scores = loss.anomaly(networks, x)
        torch.testing.assert_close(scores, torch.tensor(expected, dtype=torch.float64))
        torch.testing.assert_close(loss.anomaly(networks, x[2:3]), scores[2:3])


def test_heatmaps_are_where_pixels_differ():
    networks, loss = players(CONV, (1, 16, 16)), Alad(blur=3)
    x = torch.rand(3, 1, 16, 16, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        again = networks["generator"](networks["encoder"](x))
        heat = loss.heatmap(networks, x)
    assert heat.shape == (3, 16, 16)
    torch.testing.assert_close(heat[1, 4, 7], (x - again)[1, 0, 3:6, 6:9].abs().mean())
    assert Alad(blur=4).refuse(Facts((1, 16, 16), 0, 9, "x")) == "has blur: 4, which should be odd"


def test_spectral_norm_is_on_all_layers_but_the_last():
    for architecture, shape in ((AladMlp(width=8), (4,)), (AladConv(width=2), (1, 16, 16))):
        for name, network in architecture.players(Facts(shape, 0, 9, "x"), 0).items():
            layers = {key: one for key, one in network.named_modules() if isinstance(one, (nn.Linear, nn.Conv2d))}
            plain = [key for key, one in layers.items() if not hasattr(one, "parametrizations")]
            if name == "discriminators":
                assert plain == ["xz.head", "xx.head", "zz.head"]
            if name == "encoder" and isinstance(architecture, AladMlp):
                assert plain == [list(layers)[-1]]


@pytest.mark.slow
@pytest.mark.arithmetic
def test_the_checks_pass():
    check_loss(Alad(), architecture=MLP, dataset=POINTS, batch_size=5)


SPECTRAL = [(AladMlp(width=8), POINTS), (AladConv(width=2, latent=3), IMAGES)]


@pytest.mark.parametrize(("architecture", "dataset"), SPECTRAL, ids=["mlp", "conv"])
def test_two_ranks_train_what_one_does_with_spectral_norm(architecture: Architecture, dataset: RandomSamples):
    trial = Trial(Alad(), architecture, dataset, batch_size=6, sync_batchnorm=True)
    gap, where = difference(play(trial), play(trial, world=2))
    assert gap < 1e-9, where


def test_a_resumed_run_with_dropout_and_spectral_norm_is_the_undisturbed_one():
    trial = Trial(Alad(), AladMlp(width=8, dropout=0.2), POINTS, batch_size=6, steps=4)
    straight, resumed = play(trial), play_in_two_goes(trial)
    assert difference(straight, resumed) == (0.0, "")


def run(*arguments: str) -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, list(arguments))
    return ended.exit_code, ended.stdout, ended.stderr


ROWS = """\
dataset: {name: table, root: rows.npz}
architecture: {name: alad-mlp, width: 16, latent: 2}
loss: alad
optimizer: {generator: {lr: 2.0e-3}, encoder: {lr: 2.0e-3}, discriminators: {lr: 1.0e-3}}
train:
  images: 19200
  batch_size: 64
  ema: {half_life: 2000, players: [generator, encoder, discriminators]}
  sample_every: 0
evaluate: {every: 300, metrics: [anomalies]}
cluster: {workers: 0}
"""


def test_a_table_is_learnt_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    draws = np.random.RandomState(0)
    # On a line, and beside it: each column of a strange row is as usual.
    along = draws.standard_normal(1240)
    beside = np.where(np.arange(1240) >= 1200, 2.0 * np.sign(draws.standard_normal(1240)), 0.0)
    rows = np.stack([along + beside, along - beside], 1) + 0.1 * draws.standard_normal((1240, 2))
    np.savez("rows.npz", X=rows, y=np.arange(1240) >= 1200)
    Path("rows.yaml").write_text(ROWS)
    code, said, wrong = run("train", "rows.yaml", "--json")
    assert code == 0, wrong
    area = json.loads(said)["metrics"]["auroc"]
    assert area > 0.85
    code, said, wrong = run("score", "runs/rows", "rows.npz", "--out", "all.csv", "--json")
    assert code == 0, wrong
    assert json.loads(said)["auroc"] == pytest.approx(area, abs=0.02)
    assert len(Path("all.csv").read_text().splitlines()) == 1241
    code, _, wrong = run("check", "rows.yaml", "loss.regularizers=[r1]")
    assert code == 2
    assert "r1 takes part in no turn of discriminators, generator, encoder" in wrong
    code, _, wrong = run("check", "rows.yaml", "architecture=mlp")
    assert code == 2
    assert "alad plays discriminators" in wrong


PICTURES = """\
dataset: {name: one-class, of: {name: digits, size: 16}, normal: 1}
architecture: {name: alad-conv, width: 2, latent: 4}
loss: {name: alad, blur: 1}
train: {images: 64, batch_size: 8, sample_every: 0}
evaluate: {every: 8, metrics: [anomalies]}
cluster: {workers: 0}
"""


def test_images_have_heatmaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("ones.yaml").write_text(PICTURES)
    code, said, wrong = run("train", "ones.yaml", "--json")
    assert code == 0, wrong
    assert 0 <= json.loads(said)["metrics"]["auroc"] <= 1
    Path("scans").mkdir()
    for number in range(3):
        Image.fromarray(np.full((16, 16), 60 * number, np.uint8)).save(f"scans/{number}.png")
    code, _, wrong = run("score", "runs/ones", "scans", "--out", "s.csv", "--heatmaps", "maps", "--false-alarms", "0.1")
    assert code == 0, wrong
    assert sorted(path.name for path in Path("maps").iterdir()) == ["0.png", "1.png", "2.png"]
