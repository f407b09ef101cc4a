"""The rules between the parts of a config."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from gandist import Architecture, Augmentation, ConfigError, Dataset, Facts, Loss, Regularizer, Source
from gandist.config.check import check
from gandist.config.compose import compose
from gandist.config.resolve import resolve
from gandist.config.schema import Config

POINTS = {
    "run": {"name": "points"},
    "dataset": {"name": "gaussians", "count": 1000},
    "architecture": {"name": "mlp", "width": 8},
    "loss": {"name": "non-saturating"},
    "train": {"batch_size": 16},
}


class TwoNets(Architecture):
    """Players for what the rules look at."""

    name: ClassVar[str] = "test-two-nets"
    packing: int = 1
    width: int = 2
    norm: bool = False
    spectral: bool = False

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        torch.rand(3)
        critic = nn.Linear(2, 1)
        if self.spectral:
            critic = nn.utils.parametrizations.spectral_norm(critic)
        return {"generator": Points(self.width), "discriminator": Critic(critic, self.norm, self.packing)}


class Points(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.map = nn.Linear(3, width)

    def draw(self, noise, n: int) -> torch.Tensor:
        return noise.normal(n, 3)

    def forward(self, latents, labels=None) -> torch.Tensor:
        return self.map(latents)


class Critic(nn.Module):
    def __init__(self, last: nn.Module, norm: bool, divisor: int):
        super().__init__()
        self.norm, self.last, self.divisor = nn.BatchNorm1d(2) if norm else nn.Identity(), last, divisor

    def forward(self, points, labels=None) -> torch.Tensor:
        return self.last(self.norm(points)).squeeze(1)


class Coupled(Regularizer):
    name: ClassVar[str] = "test-coupled"
    couples: ClassVar[bool] = True
    needs: ClassVar[dict[str, tuple[str, ...]]] = {"generator": ("mapping",)}

    def discriminator(self, turn) -> torch.Tensor:
        return turn.real.mean()


class Idle(Regularizer):
    name: ClassVar[str] = "test-idle"

    def encoder(self, turn) -> torch.Tensor:
        return turn.real.mean()


class Slopes(Regularizer):
    name: ClassVar[str] = "test-slopes"
    per_sample_gradients: ClassVar[bool] = True

    def discriminator(self, turn) -> torch.Tensor:
        return turn.real.mean()


class Picky(Augmentation):
    name: ClassVar[str] = "test-picky"

    def refuse(self, facts: Facts) -> str | None:
        return None if facts.images else "needs images"

    def apply(self, images, noise, memory) -> torch.Tensor:
        return images


class Encoding(Loss):
    name: ClassVar[str] = "test-encoding"
    turns: ClassVar[tuple[str, ...]] = ("encoder",)

    def encoder(self, turn) -> dict[str, torch.Tensor]:
        return {"total": turn.real.mean()}


def with_parts(
    architecture: Architecture | None = None,
    loss: Loss | None = None,
    regularizers: tuple = (),
    augmentations: tuple = (),
    **train: Any,
) -> Config:
    config = resolve(compose({**POINTS, "train": {"batch_size": 16, **train}}))
    chosen = (loss or config.loss).model_copy(update={"regularizers": regularizers})
    parts = {"architecture": architecture or TwoNets(), "loss": chosen, "augmentations": augmentations}
    return config.model_copy(update=parts)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (lambda: with_parts(TwoNets(packing=3)), "train.batch_size   should be a multiple of 3"),
        (lambda: with_parts(TwoNets(packing=4), micro_batch=6), "train.micro_batch   should be a multiple of 4"),
        (lambda: with_parts(TwoNets(width=3)), "makes samples of shape 3, the data set has 2"),
        (lambda: with_parts(regularizers=(Coupled(),)), "test-coupled needs a generator with 'mapping'"),
        (lambda: with_parts(regularizers=(Coupled(),), micro_batch=4), "test-coupled needs the whole batch at once"),
        (lambda: with_parts(regularizers=(Idle(),)), "test-idle takes part in no turn of discriminator, generator"),
        (lambda: with_parts(regularizers=(Slopes(), Slopes())), "loss.regularizers.1   test-slopes stands there twice"),
        (lambda: with_parts(augmentations=(Picky(),)), "augmentations.0   test-picky needs images; leave it out"),
        (lambda: with_parts(augmentations=(Picky(), Picky())), "augmentations.1   test-picky stands there twice"),
        (lambda: with_parts(loss=Encoding()), "builds generator, discriminator; test-encoding plays encoder"),
    ],
)
def test_rules(config: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(config())
    assert says in str(caught.value)


LABELLED = {**POINTS, "dataset": {"name": "digits", "size": 16}, "architecture": {"name": "dcgan", "width": 4}}


def test_who_reads_class_logits_gets_some() -> None:
    architecture = {**LABELLED["architecture"], "conditioning": "projection"}
    loss = {"name": "hinge", "regularizers": ["auxiliary-classifier"]}
    labelled = {**LABELLED, "loss": loss}
    with pytest.raises(ConfigError, match="auxiliary-classifier reads class logits, which dcgan does not return"):
        check(resolve(compose({**labelled, "architecture": architecture})))
    check(resolve(compose({**labelled, "architecture": {**architecture, "conditioning": "auxiliary-classifier"}})))


def test_rules_report_all_at_once() -> None:
    with pytest.raises(ConfigError, match="points: 3 problems"):
        check(with_parts(TwoNets(packing=3, width=3), regularizers=(Idle(),)))


def test_checking_gives_what_it_opened_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    opened = check(with_parts())
    assert torch.equal(before, torch.get_rng_state())
    assert opened.source.facts.shape == (2,)
    assert all(player.training for player in opened.players.values())
    assert opened.warnings == ()


class Faulty(Dataset):
    """A plugin's data set with a mistake in its code."""

    name: ClassVar[str] = "test-faulty"

    def open(self) -> Source:
        raise KeyError("roof")


class Misbuilt(Architecture):
    """An architecture with one."""

    name: ClassVar[str] = "test-misbuilt"

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        raise KeyError("roof")


def test_a_mistake_in_a_components_code_is_told_with_its_place() -> None:
    good = resolve(compose(POINTS))
    for change, place in (
        ({"dataset": Faulty()}, r"dataset +test-faulty: its open\(\)"),
        ({"architecture": Misbuilt()}, r"architecture +test-misbuilt: its players\(\)"),
    ):
        with pytest.raises(ConfigError, match=place + r" raised KeyError: 'roof' \(.*test_rules.py:\d+\)"):
            check(good.model_copy(update=change))


def test_warnings() -> None:
    (batch_norm,) = check(with_parts(TwoNets(norm=True), regularizers=(Slopes(),))).warnings
    assert "test-slopes: the discriminator has batch norm" in batch_norm
    (spectral,) = check(with_parts(TwoNets(spectral=True), micro_batch=4)).warnings
    assert "the discriminator has spectral norm" in spectral
    assert check(with_parts(TwoNets(norm=True, spectral=True))).warnings == ()
