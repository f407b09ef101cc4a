"""The semi-supervised loss, its regularizers and its players: formulas by hand, ranks, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gandist_architectures.semi_supervised_conv import SemiSupervisedConv
from gandist_architectures.semi_supervised_mlp import SemiSupervisedMlp
from gandist_losses.interpolation_consistency import InterpolationConsistency
from gandist_losses.mean_teacher import MeanTeacher
from gandist_losses.semi_supervised import SemiSupervised
from gandist_losses.virtual_adversarial import VirtualAdversarial
from torch import Tensor, nn

from gandist import ConfigError, Facts, Noise, Verdict, classifier_of
from gandist.config.check import check
from gandist.config.resolve import resolve
from gandist.contract.turn import Memory, Moment, Seen, Span, Turn
from gandist.testing import check_architecture
from gandist.testing.tiny import RandomSamples
from gandist.testing.trial import Trial, difference, play, play_in_two_goes
from tests.turns import Spread

ROWS, CLASSES = 6, 3
REGULARIZED = SemiSupervised(
    conditional_entropy=0.3,
    pull_away=0.5,
    d_steps=2,
    regularizers=[MeanTeacher(weight=2.0), VirtualAdversarial(weight=0.5), InterpolationConsistency(every=2)],
)


class Linear(nn.Module):
    """Class logits W x + b; the features are x², so that they are not linear in the samples."""

    def __init__(self, seed: int, deviation: float = 0.0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(CLASSES, 4, dtype=torch.float64, generator=generator))
        self.bias = nn.Parameter(torch.randn(CLASSES, dtype=torch.float64, generator=generator))
        self.deviation = deviation

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Verdict:
        classes = samples @ self.weight.T + self.bias
        classes = classes + self.deviation * torch.randn_like(classes)
        return Verdict(classes.logsumexp(1), classes, samples.square())


def turn_of(role: str, critic: nn.Module, **given: Any) -> Turn:
    generator = torch.Generator().manual_seed(1)
    rows = {
        "real": torch.randn(ROWS, 4, dtype=torch.float64, generator=generator),
        "labelled": torch.randn(ROWS, 4, dtype=torch.float64, generator=generator),
        "labelled_classes": torch.tensor([0, 1, 2, 2, 1, 0]),
    }
    players = {"generator": Spread((4,)).double(), "discriminator": critic}
    span, moment = Span(0, ROWS, ROWS), Moment(seed=3, step=5, number=0, count=5)
    return Turn(players, role, rows, span, moment, dtype=torch.float64, **given)


def logits(critic: Any, rows: Tensor) -> np.ndarray:
    return rows.detach().numpy() @ critic.weight.detach().numpy().T + critic.bias.detach().numpy()


def softmax(rows: np.ndarray) -> np.ndarray:
    powers = np.exp(rows)
    return powers / powers.sum(1, keepdims=True)


def test_the_discriminator_tells_classes_and_the_generated_one():
    critic = Linear(0)
    turn = turn_of("discriminator", critic)
    terms = SemiSupervised(unsupervised=0.7, conditional_entropy=0.2).discriminator(turn)
    # The K+1 classes of the paper, with the logit of the generated one fixed to 0.
    real, fake, known = (
        softmax(np.column_stack([logits(critic, rows), np.zeros(ROWS)]))
        for rows in (turn.real, turn.fake, turn["labelled"])
    )
    among = known[:, :CLASSES] / known[:, :CLASSES].sum(1, keepdims=True)
    supervised = -np.log(among[range(ROWS), turn["labelled_classes"].numpy()]).mean()
    unsupervised = -np.log(1 - real[:, CLASSES]).mean() - np.log(fake[:, CLASSES]).mean()
    unknown = real[:, :CLASSES] / real[:, :CLASSES].sum(1, keepdims=True)
    entropy = -(unknown * np.log(unknown)).sum(1).mean()
    assert terms["supervised"].item() == pytest.approx(supervised, abs=1e-12)
    assert terms["unsupervised"].item() == pytest.approx(unsupervised, abs=1e-12)
    assert terms["conditional_entropy"].item() == pytest.approx(entropy, abs=1e-12)
    assert terms["total"].item() == pytest.approx(supervised + 0.7 * unsupervised + 0.2 * entropy, abs=1e-12)


def test_the_generator_matches_mean_features_and_keeps_samples_apart():
    turn = turn_of("generator", Linear(0))
    terms = SemiSupervised(pull_away=0.4).generator(turn)
    real, fake = turn.real.numpy() ** 2, turn.fake.detach().numpy() ** 2
    matching = sum((a - b) ** 2 for a, b in zip(real.mean(0), fake.mean(0), strict=True))
    pairs = [(i, j) for i in range(ROWS) for j in range(ROWS) if i != j]
    cosines = [fake[i] @ fake[j] / math.sqrt(fake[i] @ fake[i]) / math.sqrt(fake[j] @ fake[j]) for i, j in pairs]
    pulled = sum(cosine**2 for cosine in cosines) / len(pairs)
    assert terms["feature_matching"].item() == pytest.approx(matching, abs=1e-12)
    assert terms["pull_away"].item() == pytest.approx(pulled, abs=1e-12)
    assert terms["total"].item() == pytest.approx(matching + 0.4 * pulled, abs=1e-12)
    terms["total"].backward()
    assert turn.players["generator"].scale.grad is not None


@pytest.mark.parametrize("size", [-300.0, 300.0])
def test_large_logits_stay_finite(size):
    critic = Linear(0)
    with torch.no_grad():
        critic.bias.fill_(size)
    terms = REGULARIZED.model_copy(update={"regularizers": ()}).discriminator(turn_of("discriminator", critic))
    terms["total"].backward()
    assert all(term.isfinite() for term in terms.values())
    assert critic.weight.grad.isfinite().all()


def test_the_virtual_adversarial_step_is_the_worst_of_its_length():
    """Of a linear classifier the second derivative of the divergence is Wᵀ (diag(p) - p pᵀ) W, by hand."""
    critic, method = Linear(0), VirtualAdversarial(radius=0.01, difference=1e-4, iterations=8)
    turn = turn_of("discriminator", critic)
    term = method.discriminator(turn)
    weight, shares = critic.weight.detach().numpy(), softmax(logits(critic, turn.real))
    curvatures = [weight.T @ (np.diag(p) - np.outer(p, p)) @ weight for p in shares]
    worst = np.mean([np.linalg.eigvalsh(matrix)[-1] for matrix in curvatures]) * 0.01**2 / 2
    # Eight iterations do not reach the largest eigenvalue of every sample, and never come above it.
    assert term.item() == pytest.approx(worst, rel=0.05)
    one = VirtualAdversarial(radius=0.01, difference=1e-4).discriminator(turn_of("discriminator", critic)).item()
    assert one < term.item()
    drawn = Noise(3, 5, 0, method.key, start=0, stop=ROWS, total=ROWS, device=turn.device, dtype=torch.float64)
    first = drawn.normal(ROWS, 4).numpy()
    steps = np.stack([matrix @ direction for matrix, direction in zip(curvatures, first, strict=True)])
    moved = turn.real.numpy() + 0.01 * steps / np.linalg.norm(steps, axis=1, keepdims=True)
    there = softmax(logits(critic, torch.from_numpy(moved)))
    assert one == pytest.approx((shares * (np.log(shares) - np.log(there))).sum(1).mean(), rel=1e-3)


def test_noise_inside_the_discriminator_is_the_same_on_both_sides_of_the_step():
    with torch.random.fork_rng():
        turn = turn_of("discriminator", Linear(0, deviation=3.0))
        term = VirtualAdversarial(radius=1e-3, difference=1e-4).discriminator(turn)
    assert 0 < term.item() < 1e-4


def test_the_teacher_is_the_smoothed_discriminator():
    critic, teacher = Linear(0), Linear(1)
    turn = turn_of("discriminator", critic, smoothed={"discriminator": teacher})
    term = MeanTeacher().discriminator(turn)
    apart = softmax(logits(critic, turn.real)) - softmax(logits(teacher, turn.real))
    assert term.item() == pytest.approx((apart**2).sum(1).mean(), abs=1e-12)
    term.backward()
    assert critic.weight.grad is not None
    assert teacher.weight.grad is None


def mixed_turn(critic: nn.Module, teacher: nn.Module, method: InterpolationConsistency) -> Turn:
    memory = Memory(method.memory(Facts((4,), CLASSES, 100, "any")))
    return turn_of("discriminator", critic, smoothed={"discriminator": teacher}, memories={method.key: memory})


@pytest.mark.parametrize("align", [True, False])
def test_mixtures_have_the_mixed_classes_of_their_neighbours(align):
    critic, teacher, method = Linear(0), Linear(1), InterpolationConsistency(temperature=0.4, align=align)
    turn = mixed_turn(critic, teacher, method)
    frequencies = np.array([0.2, 0.5, 0.3])
    turn.memory(method).frequencies.copy_(torch.from_numpy(frequencies))
    term = method.discriminator(turn)
    drawn = Noise(3, 5, 0, method.key, start=0, stop=ROWS, total=ROWS, device=turn.device, dtype=torch.float64)
    shares = 0.5 + drawn.uniform(ROWS, 1).numpy()[:, 0] / 2
    samples, known = turn.real.numpy(), softmax(logits(teacher, turn.real)) ** (1 / 0.4)
    known = known / known.sum(1, keepdims=True)
    if align:
        known = known / frequencies / (known / frequencies).sum(1, keepdims=True)
    total = 0.0
    for row, share in enumerate(shares):
        after = (row + 1) % ROWS
        mixed = share * samples[row] + (1 - share) * samples[after]
        own = softmax(logits(critic, torch.from_numpy(mixed[None])))[0]
        total -= (share * known[row] + (1 - share) * known[after]) @ np.log(own)
    assert term.item() == pytest.approx(total / ROWS, abs=1e-12)
    term.backward()
    assert critic.weight.grad is not None
    assert teacher.weight.grad is None


def test_a_class_that_the_teacher_never_gives_leaves_the_term_finite():
    teacher, method = Linear(1), InterpolationConsistency()
    with torch.no_grad():
        teacher.bias[0] = -1e4
    turn = mixed_turn(Linear(0), teacher, method)
    turn.memory(method).frequencies[0] = 0
    assert method.discriminator(turn).isfinite()


def test_the_frequencies_of_classes_follow_the_teacher():
    teacher, method = Linear(1), InterpolationConsistency(temperature=0.5, decay=0.9)
    turn = mixed_turn(Linear(0), teacher, method)
    method.discriminator(turn)
    method.update(turn.memory(method), Seen("discriminator", [turn.seen], turn.span))
    sharp = softmax(2 * logits(teacher, turn.real)).mean(0)
    assert turn.memory(method).frequencies.numpy() == pytest.approx(0.9 / CLASSES + 0.1 * sharp, abs=1e-12)


def test_the_generator_moves_after_so_many_turns_of_the_discriminator():
    assert SemiSupervised(d_steps=3).turns == ("discriminator", "discriminator", "discriminator", "generator")


PLAYERS = {
    "mlp": (SemiSupervisedMlp(width=40, generator_width=12, latent=5, input_noise=0, noise=0), (1, 6, 6)),
    "conv": (SemiSupervisedConv(width=3, latent=5, input_dropout=0, dropout=0), (3, 16, 16)),
}
NOISY = {
    "mlp": PLAYERS["mlp"][0].model_copy(update={"input_noise": 0.3, "noise": 0.5}),
    "conv": PLAYERS["conv"][0].model_copy(update={"input_dropout": 0.2, "dropout": 0.5}),
}


def trial(name: str) -> Trial:
    architecture, shape = PLAYERS[name]
    return Trial(REGULARIZED, architecture, RandomSamples(shape=shape, labelled=9), sync_batchnorm=True)


@pytest.mark.parametrize("name", PLAYERS)
def test_two_ranks_do_the_arithmetic_of_one(name):
    for size in (8, 7):
        one = replace(trial(name), batch_size=size)
        gap, where = difference(play(one), play(one, world=2))
        assert gap <= 1e-10, where


@pytest.mark.parametrize("name", PLAYERS)
def test_a_resumed_run_is_the_same_also_with_noise_inside(name):
    noisy = replace(trial(name), architecture=NOISY[name], steps=4, dtype=torch.float32)
    straight = play(noisy)
    assert difference(straight, play_in_two_goes(noisy))[0] == 0
    assert any(key.startswith("smoothed-discriminator.") for key in straight)
    assert difference(straight, play(replace(trial(name), steps=4, dtype=torch.float32)))[0] > 0


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 16, 16), (3, 48, 48)])
def test_convolutional_players_of_every_size(shape):
    check_architecture(SemiSupervisedConv(width=4), Facts(shape, 4, 100, "any"))


@pytest.mark.parametrize("shape", [(3, 9, 7), (5,)])
def test_dense_players_of_every_shape(shape):
    check_architecture(SemiSupervisedMlp(width=40, generator_width=10), Facts(shape, 4, 100, "any"))


def test_the_conv_discriminator_is_the_papers():
    # openai/improved-gan, train_cifar_feature_matching.py: nine convolutions of 96, 96, 96, 192 … 192 and the classes;
    # with weight norm a layer has a length for each output beside its weights and biases.
    players = SemiSupervisedConv().build(Facts((3, 32, 32), 10, 100, "cifar"))
    convolutions = [(3, 96, 9), (96, 96, 9), (96, 96, 9), (96, 192, 9), (192, 192, 9), (192, 192, 9), (192, 192, 9)]
    layers = [*convolutions, (192, 192, 1), (192, 192, 1), (192, 10, 1)]
    counted = sum(parameter.numel() for parameter in players["discriminator"].parameters())
    assert counted == sum(before * after * kernel + 2 * after for before, after, kernel in layers)


def test_logits_of_being_real_are_those_of_the_classes():
    players = SemiSupervisedMlp(width=40).build(Facts((4,), CLASSES, 100, "any"))
    verdict = players["discriminator"].eval()(torch.randn(5, 4))
    total = verdict.classes.exp().sum(1)
    assert torch.allclose(verdict.logits.sigmoid(), total / (total + 1))


def checked(**sections: Any) -> None:
    given = {
        "run": {"name": "semi"},
        "dataset": {"name": "digits", "size": 16, "labelled": 50},
        "architecture": {"name": "semi-supervised-mlp", "width": 8, "generator_width": 4},
        "loss": {"name": "semi-supervised"},
        "train": {"batch_size": 8},
    }
    check(resolve(given | sections))


def test_a_good_config_is_taken():
    checked()


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"dataset": {"name": "digits"}}, "semi-supervised reads labelled, labelled_classes, which digits does not"),
        ({"dataset": {"name": "digits"}}, "set dataset.labelled to a number of samples"),
        ({"dataset": {"name": "gaussians"}}, "does not give"),
        ({"dataset": {"name": "digits", "labelled": 55}}, "should be a multiple of the 10 classes, is 55; set it to"),
        ({"dataset": {"name": "digits", "labelled": 5000}}, "5000 are 500 of each class, but class"),
        ({"architecture": {"name": "mlp-conv"}, "dataset": {"name": "digits", "labelled": 50}}, "reads class logits"),
        (
            {
                "architecture": {"name": "dcgan", "conditioning": "projection"},
                "dataset": {"name": "digits", "size": 32, "labelled": 50},
            },
            "dcgan asks for labels",
        ),
        (
            {
                "architecture": {"name": "semi-supervised-conv"},
                "dataset": {"name": "digits", "size": 18, "labelled": 50},
            },
            "multiple of 4 from 16 to 128, the data set has 18×18: set dataset.size: 16",
        ),
        (
            {"loss": {"name": "semi-supervised", "regularizers": ["mean-teacher"]}},
            "train.ema.players: [generator, discriminator]",
        ),
        (
            {"loss": {"name": "semi-supervised", "regularizers": ["interpolation-consistency"]}},
            "train.ema.players: [generator, discriminator]",
        ),
        ({"loss": {"name": "semi-supervised", "regularizers": ["auxiliary-classifier"]}}, "leave dataset.labelled out"),
        ({"train": {"ema": {"players": ["discriminater"]}}}, "did you mean discriminator"),
        ({"train": {"batch_size": 8, "micro_batch": 4}}, "semi-supervised needs the whole batch at once"),
        (
            {"loss": "hinge", "evaluate": {"every": 1, "metrics": ["test-error"]}},
            "test-error needs a loss that trains a classifier",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(sections, said):
    with pytest.raises(ConfigError) as error:
        checked(**sections)
    assert said in str(error.value)


def test_who_classifies():
    assert classifier_of(SemiSupervised()) is not None
    assert classifier_of(resolve_loss("hinge")) is None
    assert classifier_of(resolve_loss({"name": "hinge", "regularizers": ["auxiliary-classifier"]})) is not None


def resolve_loss(given: Any) -> Any:
    from pydantic import TypeAdapter

    from gandist import Loss

    return TypeAdapter(Loss).validate_python(given)
