from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import gandist
from gandist import CheckpointError, ConfigError
from gandist.using.load import load
from gandist.using.trained import Trained


@pytest.fixture
def copied(runs: Path, tmp_path: Path) -> Path:
    """A run that a test may damage."""
    return Path(shutil.copytree(runs / "digits", tmp_path / "digits"))


def test_a_run_gives_its_smoothed_generator(runs: Path, digits: Trained):
    final = load_file(runs / "digits" / "generator.safetensors")
    newest = load_file(runs / "digits" / "checkpoints" / "step-00000020" / "networks.safetensors")
    for name, weights in digits.generator.state_dict().items():
        assert torch.equal(weights, final[name])
        assert torch.equal(weights, newest[f"smoothed.{name}"])
    assert not torch.equal(final["body.0.weight"], newest["generator.body.0.weight"])
    assert digits.step == 20
    assert not digits.generator.training
    assert digits.facts.shape == (1, 28, 28)
    assert gandist.load(str(runs / "digits")).step == 20


def test_a_checkpoint_gives_the_generator_of_its_step(runs: Path, digits: Trained):
    earlier = load(runs / "digits" / "checkpoints" / "step-00000010")
    assert earlier.step == 10
    assert not torch.equal(earlier.sample(4), digits.sample(4))
    weights = load_file(earlier.path / "networks.safetensors")
    for name, tensor in earlier.discriminator.state_dict().items():
        assert torch.equal(tensor, weights[f"discriminator.{name}"])


def test_a_run_that_goes_on_after_its_end_gives_the_newest(copied: Path):
    shutil.rmtree(copied / "checkpoints" / "step-00000020")
    # generator.safetensors says step 20, and stays the newest.
    assert load(copied).step == 20
    (copied / "generator.safetensors").unlink()
    assert load(copied).step == 10


def test_the_final_generator_is_enough(copied: Path):
    shutil.rmtree(copied / "checkpoints")
    trained = load(copied)
    assert trained.sample(2).shape == (2, 1, 28, 28)
    with pytest.raises(ConfigError, match="discriminator is in the checkpoints only"):
        _ = trained.discriminator


def test_sampling_needs_no_data_set(copied: Path):
    config = yaml.safe_load((copied / "config.yaml").read_text())
    config["dataset"] = {"name": "image-folder", "root": "/nowhere"}
    (copied / "config.yaml").write_text(yaml.safe_dump(config))
    assert load(copied).sample(3).shape == (3, 1, 28, 28)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digts", "no such run folder; did you mean digits"),
        ("", "not a run folder, it has no config.yaml; runs in .*: digits, ring"),
        ("digits/checkpoints", "not a run folder"),
        ("digits/checkpoints/step-00000011", "no such run folder"),
    ],
)
def test_what_is_no_run(runs: Path, name: str, expected: str):
    with pytest.raises(ConfigError, match=expected):
        load(runs / name)


def test_damage_is_named_and_an_older_checkpoint_used(copied: Path):
    (copied / "generator.safetensors").write_bytes(b"half")
    newest, older = (copied / "checkpoints" / f"step-000000{step}" for step in (20, 10))
    (newest / "networks.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"step-00000020: damaged checkpoint: networks.safetensors has 4 bytes"):
        load(newest)
    assert load(copied).step == 10
    (older / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"all checkpoints are damaged .*step-00000010: manifest.json is missing"):
        load(copied)
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(ConfigError, match="nothing is trained yet"):
        load(copied)


def test_weights_of_another_architecture_are_refused(copied: Path, runs: Path):
    shutil.copy(runs / "ring" / "generator.safetensors", copied / "generator.safetensors")
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(CheckpointError, match="does not fit mlp-conv of its config"):
        load(copied)
