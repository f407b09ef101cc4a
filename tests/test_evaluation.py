from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from stripes import Stripes
from tiny import config as tiny_config
from torch import Tensor, nn

from gandist import ConfigError, Facts, Source
from gandist.config.schema import Config
from gandist.evaluation.evaluator import Evaluator
from gandist.evaluation.fitting import fit, held_out, read
from gandist.evaluation.metrics import scores, validate
from gandist.evaluation.reference import halves
from tests.ranks import on_ranks

pytestmark = pytest.mark.arithmetic

CPU = torch.device("cpu")


class Unreadable(Stripes):
    """Fails as soon as a sample is read."""

    def read(self, indices) -> dict[str, Tensor]:
        raise ConfigError("the disk is gone")


class Painter(nn.Module):
    """An untrained generator of images that also draws noise inside."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 144, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.linspace(-1, 1, 144 * 4).view(144, 4).sin())
        self.rows: list[int] = []

    def draw(self, noise, n: int) -> Tensor:
        return noise.normal(n, 4)

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        self.rows.append(len(latents))
        made = self.layer(latents) + 0.3 * torch.randn(len(latents), 144)
        return made.tanh().view(-1, 1, 12, 12)


class Thrower(nn.Module):
    """Points on a circle."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def draw(self, noise, n: int) -> Tensor:
        return noise.uniform(n, 2)

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        angle = latents[:, 0] * 2 * torch.pi
        return torch.stack([angle.cos(), angle.sin()], 1) * self.scale


def scored_by(count: int = 300, metrics: tuple[str, ...] = ("frechet", "classes")) -> Config:
    return tiny_config(evaluate={"metrics": metrics, "count": count, "every": 1})


def by_rows() -> list[Evaluator]:
    """Of metrics that compare rows: more samples than fill a block for each rank, and neither blocks nor ranks divide
    their number."""
    classes = ["inception-score", "class-frechet", "diversity", "kid"]
    neighbours = ["kid", "precision", "recall", "density", "coverage", "memorisation", "spectral", "frechet"]
    one = tiny_config(evaluate={"metrics": classes, "count": 1700})
    two = tiny_config(evaluate={"metrics": neighbours, "features": "pixels", "count": 1700})
    return [Evaluator(one, Stripes(), CPU), Evaluator(two, Stripes(3700), CPU)]


def ring() -> Source:
    return tiny_config().dataset.open()


def test_real_points_of_the_ring_hit_all_modes():
    source = ring()
    scores = Evaluator(scored_by(metrics=("modes",)), source, CPU).score([source.read(range(2500))["real"]])
    # A round Gaussian in the plane has 1 - exp(-9/2) of its points within 3 standard deviations.
    assert scores["good"] == pytest.approx(0.9889, abs=0.01)
    assert (scores["modes_hit"], scores["modes"]) == (8, 8)
    assert scores["reverse_kl"] < 0.01


def test_the_real_floor_is_the_distance_between_disjoint_halves():
    source = Stripes()
    evaluator = Evaluator(scored_by(count=100), source, CPU)
    evaluator.prepare()
    first, second = halves(source, 100)
    assert not set(first.tolist()) & set(second.tolist())
    assert (len(first), len(second)) == (120, 100)
    scores = evaluator.score(read(source, second)[0].split(33))
    assert scores["frechet"] == pytest.approx(scores["frechet_real"], rel=1e-6)
    same = evaluator.score(read(source, first)[0].split(50))
    assert same["frechet"] < 1e-3 < scores["frechet_real"]


def test_class_shares_are_those_of_the_samples():
    source = Stripes()
    scores = Evaluator(scored_by(), source, CPU).score([source.read([0, 3, 6, 9, 12, 1, 4, 7])["real"]])
    assert scores["class_share/0"] == 5 / 8
    assert (scores["smallest_class"], scores["largest_class"]) == (0.0, 5 / 8)
    assert sum(share for name, share in scores.items() if name.startswith("class_share/")) == 1.0
    assert 0.9 <= scores["confident_real"] <= 1.0


def test_measure_scores_exactly_count_samples_and_disturbs_nothing():
    generator = Painter().train()
    evaluator = Evaluator(scored_by(count=130), Stripes(fingerprint="undisturbed"), CPU)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    scores = evaluator.measure({"generator": generator}, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert generator.training
    assert sum(generator.rows) == 130
    assert evaluator.measure({"generator": generator}, seed=3) == scores
    assert evaluator.measure({"generator": generator}, seed=4) != scores


def _measure_on_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    # A cache of its own for each rank shows who filled one.
    os.environ["GANDIST_CACHE"] = f"{folder}/cache-{rank}"
    for world in (3, 2):
        if rank >= world:
            break
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting-{world}", rank=rank, world_size=world)
        images = Evaluator(scored_by(), Stripes(), CPU).measure({"generator": Painter()}, seed=7)
        points = Evaluator(scored_by(metrics=("modes",)), ring(), CPU).measure({"generator": Thrower()}, seed=7)
        compared = [evaluator.measure({"generator": Painter()}, seed=7) for evaluator in by_rows()]
        try:
            Evaluator(scored_by(), Unreadable(fingerprint="unreadable"), CPU).prepare()
            failure = ""
        except ConfigError as error:
            failure = str(error)
        Path(folder, f"{world}-{rank}.json").write_text(json.dumps([images, points, compared, failure]))
        dist.barrier()
        dist.destroy_process_group()
    # Without the interpreter's teardown, in which a thread of gloo that still runs aborts the process now and then.
    os._exit(0)


def test_scores_are_the_same_on_one_two_and_three_ranks(tmp_path: Path):
    on_ranks(3, _measure_on_rank, str(tmp_path))
    images = Evaluator(scored_by(), Stripes(), CPU).measure({"generator": Painter()}, seed=7)
    points = Evaluator(scored_by(metrics=("modes",)), ring(), CPU).measure({"generator": Thrower()}, seed=7)
    compared = [evaluator.measure({"generator": Painter()}, seed=7) for evaluator in by_rows()]
    assert images["frechet"] > images["frechet_real"] > 0
    for world in (2, 3):
        for rank in range(world):
            theirs, their_points, their_compared, failure = json.loads((tmp_path / f"{world}-{rank}.json").read_text())
            assert theirs == pytest.approx(images, rel=1e-6)
            assert their_points == pytest.approx(points, rel=1e-6)
            for one, other in zip(their_compared, compared, strict=True):
                assert one == pytest.approx(other, rel=1e-6)
            assert failure == "the disk is gone"
    assert [(tmp_path / f"cache-{rank}" / "classifiers").exists() for rank in range(3)] == [True, False, False]


def test_a_prepared_source_is_read_only_once():
    Evaluator(scored_by(), Stripes(fingerprint="cached"), CPU).prepare()
    again = Evaluator(scored_by(), Unreadable(fingerprint="cached"), CPU)
    again.prepare()
    assert again.protocol()["classifier_accuracy"] > 0.9
    with pytest.raises(ConfigError, match="the disk is gone"):
        Evaluator(scored_by(), Unreadable(fingerprint="other"), CPU).prepare()


def test_training_the_classifier_is_deterministic_and_keeps_to_its_part():
    source = Stripes(60)
    training, holding = held_out(source)
    assert sorted(training.tolist() + holding.tolist()) == list(range(60))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = fit(source, CPU)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    two = fit(source, CPU)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_the_classifier_of_the_digits_is_good_enough_to_judge_by():
    config = tiny_config(dataset={"name": "digits"}, evaluate={"metrics": ["frechet", "classes"], "count": 800})
    source = config.dataset.open()
    evaluator = Evaluator(config, source, CPU)
    real = read(source, halves(source, 800)[1])[0]
    scores = evaluator.score(real.split(100))
    assert evaluator.protocol()["classifier_accuracy"] >= 0.97
    assert scores["confident_real"] > 0.9
    assert 0.07 < scores["smallest_class"] <= scores["largest_class"] < 0.13
    # Half of the classes gone is far more than chance.
    labels = source.read(range(800))["labels"]
    half = evaluator.score([source.read(torch.arange(800)[labels < 5].tolist())["real"]])
    assert half["frechet"] > 10 * scores["frechet_real"]
    assert half["smallest_class"] < 0.02


@pytest.mark.slow
def test_the_classifier_of_fashion_mnist(data_folder: Path):
    dataset = {"name": "fashion-mnist", "root": str(data_folder / "fashion-mnist")}
    assert fit(tiny_config(dataset=dataset).dataset.open(), CPU).accuracy > 0.88


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("modes", Stripes(), "needs a data set with known modes"),
        ("classes", ring(), "needs images, the data set has points; use modes"),
    ],
)
def test_metrics_that_cannot_be_computed(name: str, source: Source, expected: str):
    with pytest.raises(ConfigError, match=f"evaluate.metrics: .*{expected}"):
        Evaluator(scored_by(metrics=(name,)), source, CPU)


def test_metrics_without_labels():
    unlabelled = Facts((1, 8, 8), 0, 100, "flat")
    flat = Source()
    flat.facts = unlabelled
    assert "at least 2 classes" in validate(scored_by(metrics=("frechet",)).evaluate, flat)[0]
    assert validate(scored_by().evaluate, Stripes()) == []
    given = ["frechet", "frechet_real", "smallest_class", "largest_class", "confident", "confident_real"]
    assert scores(scored_by().evaluate.metrics) == given
