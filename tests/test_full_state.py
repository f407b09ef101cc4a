"""Everything that training reads is in the checkpoint: whatever holds state, a killed run of three ranks goes on with
the same bits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from torch.multiprocessing.spawn import ProcessExitedException

from tests.processes import install
from tests.ranks import train_on_ranks

STEPS, EVERY, DEATH = 20, 5, 13
DCGAN = {"name": "dcgan", "width": 4, "latent": 8}

MEMORY = '''
import torch
from typing import ClassVar
from gandist import Dataset, Regularizer, hookimpl
from gandist.testing.tiny import RandomSamples

class Anchor(Regularizer):
    """Holds the logits near slow means of those on real and on fake samples, after LeCam (Tseng et al. 2021, eq. 3)."""
    name: ClassVar[str] = "anchor"
    couples: ClassVar[bool] = False

    def memory(self, facts):
        return {"real": torch.zeros(()), "fake": torch.zeros(()), "turns": torch.zeros((), dtype=torch.int64)}

    def update(self, memory, seen):
        memory.real.lerp_(seen["real"].mean().float(), 0.1)
        memory.fake.lerp_(seen["fake"].mean().float(), 0.1)
        memory.turns += 1

    def discriminator(self, turn):
        means, real, fake = turn.memory(self), turn.on_real.logits, turn.on_fake.logits
        return (real - means.fake).square().mean() + (fake - means.real).square().mean()

class RandomPairs(RandomSamples):
    """Two domains."""
    name: ClassVar[str] = "random-pairs"
    shape: tuple[int, ...] = (1, 16, 16)
    classes: int = 0
    called: tuple[str, ...] = ("a", "b")

@hookimpl
def gandist_regularizers():
    return [Anchor]

@hookimpl
def gandist_datasets():
    return [RandomPairs]
'''

CASES: dict[str, dict[str, Any]] = {
    "adam, running means, smoothed generator": {"architecture": {**DCGAN, "norm": "batch"}},
    "adamw, spectral norm": {"architecture": {**DCGAN, "norm": "spectral"}, "optimizer": {"name": "adamw"}},
    "rmsprop with momentum": {"optimizer": {"name": "rmsprop", "momentum": 0.5}},
    "sgd with momentum": {"optimizer": {"name": "sgd", "momentum": 0.9}},
    "schedule": {"optimizer": {"name": "adam", "schedule": {"warmup": 64, "decay": "cosine"}}},
    "synchronised batch norm": {
        "architecture": {**DCGAN, "norm": "batch"},
        "train": {"sync_batchnorm": True},
    },
    "dropout": {"architecture": {"name": "mlp-conv"}, "dataset": {"name": "digits", "size": 28}},
    "wgan-gp, two discriminator turns": {
        "architecture": {"name": "sngan-resnet", "width": 4, "latent": 8},
        "dataset": {"name": "digits", "size": 32},
        "loss": {"name": "wgan-gp", "d_steps": 2},
    },
    "bf16": {"train": {"precision": "bf16"}},
    "memory of a regularizer": {"loss": {"name": "non-saturating", "regularizers": [{"name": "anchor"}]}},
    "lecam": {"loss": {"name": "hinge", "regularizers": [{"name": "lecam"}]}},
    "ada": {"augmentations": [{"name": "ada", "images": 64, "interval": 3, "start": 0.5}]},
    "annealed weight, betas and half-life": {
        "loss": {"name": "r3gan", "anneal": {"to": 0.1, "over": 120}},
        "optimizer": {"name": "adam", "anneal_beta2": {"to": 0.9, "over": 120}, "clip": 1.0},
        "train": {"ema": {"half_life": 10, "anneal": {"to": 100, "over": 120}}},
    },
    "semi-supervised, noise, a smoothed discriminator that teaches": {
        "architecture": {"name": "semi-supervised-mlp", "width": 40, "generator_width": 16, "latent": 8},
        "dataset": {"name": "digits", "size": 16, "labelled": 50},
        "loss": {
            "name": "semi-supervised",
            "pull_away": 0.1,
            "conditional_entropy": 0.1,
            "d_steps": 2,
            "regularizers": ["mean-teacher", "virtual-adversarial", "interpolation-consistency"],
        },
        "train": {"ema": {"half_life": 100, "players": ["generator", "discriminator"]}},
    },
    "pool of earlier fakes": {
        "dataset": {"name": "random-pairs"},
        "architecture": {"name": "cyclegan", "width": 2, "critic_width": 2, "critic_layers": 1},
        "loss": {"name": "cyclegan", "pool": 12},
    },
    "an encoder alone": {
        "architecture": {"name": "dcgan-encoder", "width": 4, "latent": 8},
        "dataset": {"name": "one-class", "of": {"name": "digits", "size": 16}, "normal": 0},
        "loss": {"name": "f-anogan"},
        "optimizer": {"encoder": {"name": "adam"}},
    },
    "clipped weights": {"loss": {"name": "wasserstein", "d_steps": 2}, "optimizer": {"name": "rmsprop"}},
}


def config(case: dict[str, Any]) -> dict[str, Any]:
    optimizer = case.get("optimizer", {"name": "adam"})
    loss = case.get("loss", {"name": "non-saturating", "regularizers": [{"name": "r1", "every": 4}]})
    fresh = loss.get("d_steps", 1)
    train = {
        "images": 8 * STEPS * fresh,
        "batch_size": 8,
        "log_every": 1,
        "save_every": EVERY,
        "sample_every": 0,
        "keep": 10,
        "ema": {"half_life": 100},
    }
    return {
        "run": {"name": "state", "seed": 3},
        "dataset": {"name": "digits", "size": 16},
        "architecture": {**DCGAN, "norm": "none"},
        **{name: section for name, section in case.items() if name != "train"},
        "loss": loss,
        "optimizer": optimizer if "encoder" in optimizer else {"generator": optimizer, "discriminator": optimizer},
        "train": {**train, **case.get("train", {})},
    }


def specs(folder: Path, **more: Any) -> list[dict[str, Any]]:
    return [
        {"config": config(case), "folder": str(folder / str(number)), **more}
        for number, case in enumerate(CASES.values())
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory):
    """Folders with a straight run, and one killed and gone on with, of each case."""
    place = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(install(place, "anchor-plugin", "anchor_plugin", MEMORY))
        train_on_ranks(3, specs(place / "straight"))
        for spec in specs(place / "killed", die_at=DEATH):
            with pytest.raises(ProcessExitedException):
                train_on_ranks(3, [spec])
            assert not (Path(spec["folder"]) / "generator.safetensors").exists()
        train_on_ranks(3, specs(place / "killed"))
    return place


def tensors(folder: Path) -> tuple[str, str]:
    """SHA-256 of the generator, and of all networks, memories and smoothed weights in the last checkpoint."""
    last = folder / "checkpoints" / f"step-{STEPS:08d}" / "networks.safetensors"
    generator, networks = (hashlib.sha256(path.read_bytes()) for path in (folder / "generator.safetensors", last))
    return generator.hexdigest(), networks.hexdigest()


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)), ids=list(CASES))
def test_a_killed_run_of_three_ranks_goes_on_bit_for_bit(runs: Path, number: int):
    straight, killed = runs / "straight" / str(number), runs / "killed" / str(number)
    assert not list(straight.glob("error-*.txt")), (straight / "error-0.txt").read_text()
    assert tensors(killed) == tensors(straight)
    rows = [logged(killed), logged(straight)]
    assert [row["step"] for row in rows[0]] == list(range(1, STEPS + 1))
    for mine, theirs in zip(*rows, strict=True):
        same = {key for key in theirs if key.startswith(("loss/", "logits/", "lr/", "gradient_norm/"))}
        assert {key: mine[key] for key in same} == {key: theirs[key] for key in same}
