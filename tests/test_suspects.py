"""The samples that memorisation suspects, drawn beside the training images that they copy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gandist import ConfigError
from gandist.cli import main
from gandist.using.evaluate import evaluate
from gandist.using.trained import Trained

PLANTED = (3, 40, 500, 1100)


@pytest.fixture
def planted(digits: Trained, tmp_path: Path) -> Path:
    """Noise with copies of training images at places 5, 15, 25 and 35, as an .npz."""
    source = digits.config.dataset.open()
    rows = torch.randint(0, 256, (70, *source.facts.shape), generator=torch.Generator().manual_seed(0))
    rows[5:45:10] = source.read(PLANTED)["real"].long()
    np.savez(tmp_path / "planted.npz", images=rows.to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return tmp_path / "planted.npz"


def test_planted_copies_are_drawn_beside_their_originals(runs: Path, planted: Path, tmp_path: Path):
    out = tmp_path / "sheets"
    found = evaluate(
        runs / "digits", metrics=["frechet", "memorisation"], features="pixels", images=planted, pictures=out
    )
    told = found["pictures"]["memorisation"]
    assert told["suspected"] == len(PLANTED) == round(70 * found["memorised"])
    first = {one["sample"]: (one["indices"][0], one["distances"][0]) for one in told["samples"][:4]}
    assert {sample: near for sample, (near, _) in first.items()} == dict(zip((5, 15, 25, 35), PLANTED, strict=True))
    assert all(distance == pytest.approx(0, abs=1e-4) for _, distance in first.values())
    assert [path.name for path in out.iterdir()] == ["memorisation.png"]
    # Eight rows of a sample and six neighbours.
    sheet = np.asarray(Image.open(told["path"]))
    assert sheet.shape[0] > 8 * 28 * 2
    assert sheet.shape[1] > 7 * 28 * 2


def test_samples_of_a_run_are_those_that_were_scored(runs: Path, digits: Trained, tmp_path: Path, capsys):
    given = ["--metrics", "memorisation", "--features", "pixels", "--count", "70", "--pictures", str(tmp_path / "out")]
    assert main(["evaluate", str(runs / "digits"), *given, "--seed", "4", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["pictures"]["memorisation"]
    source = digits.config.dataset.open()
    samples = digits.sample(70, seed=4).float().div(255).flatten(1)
    images = source.read(range(len(source)))["real"].float().div(255).flatten(1)
    nearest = torch.cdist(samples.double(), images.double()).min(1)
    worst = nearest.values.argsort()[:8]
    assert [one["sample"] for one in told["samples"]] == worst.tolist()
    assert [one["indices"][0] for one in told["samples"]] == nearest.indices[worst].tolist()


def test_without_anything_to_point_at_it_is_told_before_a_sample_is_drawn(runs: Path, tmp_path: Path):
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="no metric here points at single samples; ask for --metrics memorisation"):
        evaluate(runs / "digits", metrics=["frechet"], pictures=out)
    with pytest.raises(ConfigError, match="pictures of images only, the data set has points"):
        evaluate(runs / "ring", metrics=["memorisation"], features="pixels", pictures=out)
    assert not out.exists()
