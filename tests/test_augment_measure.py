"""Whether synthetic images help: planted cases with a known answer."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from gandist_datasets.digits import Digits
from torch import Tensor
from trained_runs import train_conditional

from gandist import ConfigError
from gandist.cli import main
from gandist.contract.noise import key
from gandist.using.augmenting import measure as measuring
from gandist.using.augmenting.compare import Comparison, compare, few
from gandist.using.augmenting.interval import interval, quantile
from gandist.using.augmenting.learning import Labelled, jittered

SIDE = 8


def part(split: str) -> Labelled:
    source = Digits(size=SIDE, split=split).open()  # type: ignore[arg-type]
    read = source.read(range(len(source)))
    return Labelled(read["real"], read["labels"])


@pytest.fixture(scope="module")
def pool() -> Labelled:
    return part("train")


@pytest.fixture(scope="module")
def test() -> Labelled:
    return part("test")


def compared(pool: Labelled, test: Labelled, synthetic, seeds: int = 3, steps: int = 30) -> Comparison:
    return compare(pool, test, synthetic, classes=10, each=3, seeds=seeds, steps=steps)


def test_more_real_images_are_found_to_help(pool: Labelled, test: Labelled):
    # What is "synthetic" here are real images that neither the classifier nor the test had.
    half = Labelled(pool.images[:700], pool.labels[:700])
    others = Labelled(pool.images[700:], pool.labels[700:])
    found = compared(half, test, lambda seed: few(others, 10, 50, seed), seeds=4, steps=60)
    assert found.verdict == "helps"
    assert found.gain.mean > 0.03
    assert found.of("synthetic").mean - found.of("standard").mean == pytest.approx(found.gain.mean)


def test_noise_does_not_help(pool: Labelled, test: Labelled):
    def noise(seed: int) -> Labelled:
        generator = torch.Generator().manual_seed(seed)
        images = torch.randint(0, 256, (500, 1, SIDE, SIDE), generator=generator).to(torch.uint8)
        return Labelled(images, torch.arange(10).repeat_interleave(50))

    assert compared(pool, test, noise).verdict in ("hurts", "no difference shown")


def test_images_with_wrong_labels_hurt(pool: Labelled, test: Labelled):
    def wrong(seed: int) -> Labelled:
        chosen = few(pool, 10, 50, seed)
        return Labelled(chosen.images, (chosen.labels + 1) % 10)

    found = compared(pool, test, wrong)
    assert found.verdict == "hurts"
    assert found.gain.high < 0


def test_the_same_seed_gives_the_same_figures(pool: Labelled, test: Labelled):
    def again() -> Comparison:
        return compare(pool, test, lambda seed: few(pool, 10, 5, seed), classes=10, each=2, seeds=2, steps=5)

    torch.manual_seed(1)
    first, state = again(), torch.get_rng_state()
    torch.manual_seed(2)
    assert again() == first
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_each_seed_draws_other_images_of_every_class(pool: Labelled):
    one, other = few(pool, 10, 3, 0), few(pool, 10, 3, 1)
    assert one.labels.tolist() == other.labels.tolist() == [label for label in range(10) for _ in range(3)]
    assert not torch.equal(one.images, other.images)
    with pytest.raises(ConfigError, match=r"--real 500: there are 1[0-9]{2} images of class 0 .*give --real 1[0-9]{2}"):
        few(pool, 10, 500, 0)


def test_intervals_are_students():
    # Tables of Student's t, two-sided 95%.
    for freedom, t in {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 9: 2.2622, 30: 2.0423, 99: 1.9842}.items():
        assert quantile(freedom) == pytest.approx(t, abs=5e-5)
    found = interval([1.0, 2.0, 4.0])
    half = 4.302653 * (7 / 3) ** 0.5 / 3**0.5
    assert (found.mean, found.low, found.high) == pytest.approx((7 / 3, 7 / 3 - half, 7 / 3 + half))
    stats = pytest.importorskip("scipy.stats")
    for freedom in range(1, 40):
        assert quantile(freedom) == pytest.approx(float(stats.t.ppf(0.975, freedom)), rel=1e-9)


def test_intervals_hold_what_they_promise():
    generator = torch.Generator().manual_seed(key("intervals"))
    draws = torch.randn(2000, 5, generator=generator, dtype=torch.float64) * 3 + 1
    held = sum(one.low <= 1 <= one.high for one in map(interval, draws.tolist()))
    assert 0.935 < held / 2000 < 0.965


def test_the_gain_is_paired():
    found = Comparison({"real": [0, 0], "standard": [0.1, 0.9, 0.5], "synthetic": [0.2, 1.0, 0.61]})
    assert found.gain.low > 0
    assert found.verdict == "helps"
    # Side by side, without pairs, nothing would be seen.
    assert found.of("synthetic").low < found.of("standard").high


def test_standard_augmentation_moves_each_image_by_itself():
    image = torch.zeros(1, 1, 16, 16)
    image[..., 6:10, 6:10] = 255
    made = jittered(image.expand(32, -1, -1, -1), torch.Generator().manual_seed(0))
    assert made.shape == (32, 1, 16, 16)
    rows = torch.arange(16.0) - 7.5
    centre: Tensor = (made.sum((1, 3)) * rows).sum(1) / made.sum((1, 2, 3))
    assert centre.std() > 0.3
    assert centre.abs().max() < 3
    assert -0.01 < made.min() <= made.max() < 255.01


def test_a_run_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measuring, "compare", partial(compare, steps=3))
    run = str(train_conditional(tmp_path / "digits"))
    given = ["--measure", "--real", "2", "--seeds", "2", "--per-class", "3"]
    assert main(["augment", run, *given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["seen"] is False
    assert found["test_images"] == 360
    assert "held out by digits" in found["test"]
    assert found["verdict"] in ("helps", "hurts", "no difference shown")
    assert len(found["by_seed"]["synthetic"]) == 2
    assert "trained on 1,437 images and the classifiers on 20 of them" in found["notes"][0]
    assert main(["augment", run, *given]) == 0
    told = capsys.readouterr().out
    assert "2 real images a class, standard augmentation" in told
    assert f": {found['verdict']}\n" in told
    assert main(["augment", run, "--measure", "--real", "1000", "--seeds", "2"]) == 2
    assert "--real 1000: there are" in capsys.readouterr().err
