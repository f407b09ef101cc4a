"""Regularizers against formulas written out by hand."""

import math

import pytest
import torch
from gandist_losses.auxiliary_classifier import AuxiliaryClassifier
from gandist_losses.balanced_consistency import BalancedConsistency, flipped_and_shifted
from gandist_losses.dragan import Dragan
from gandist_losses.lecam import LeCam
from gandist_losses.non_saturating import NonSaturating
from gandist_losses.orthogonal import Orthogonal
from gandist_losses.path_length import PathLength
from gandist_losses.r2 import R2
from torch import Tensor, nn

from gandist import Anneal, Facts, Memory, Noise, RunError, Seen
from gandist.contract.turn import Moment, Span, Turn, Verdict
from gandist.training.players import play
from tests.turns import Bowl, Linear, Says, make_turn, mean

FACTS = Facts((2,), 3, 10, "any")


def rows(total: int, start: int = 0, stop: int | None = None, name: str = "any") -> Noise:
    span = {"start": start, "stop": total if stop is None else stop, "total": total}
    return Noise(3, 5, 0, name, **span, device=torch.device("cpu"), dtype=torch.float64)


def squares(points: Tensor) -> float:
    return mean(sum(x * x for x in row) for row in points.tolist())


def test_r2_is_the_slope_at_the_fakes():
    critic, real = Bowl(0.7), torch.randn(6, 3, dtype=torch.float64)
    turn = make_turn("discriminator", critic, real, differentiable=True)
    term = R2().discriminator(turn)
    assert term.item() == pytest.approx(0.49 * squares(turn.fake) / 2, abs=1e-12)
    term.backward()
    assert critic.a.grad.item() == pytest.approx(0.7 * squares(turn.fake.detach()), abs=1e-12)
    assert turn.players["generator"].scale.grad is None


def test_dragan_draws_the_slope_near_real_samples_to_one():
    critic, real = Bowl(0.7), torch.randn(6, 3, dtype=torch.float64)
    turn = make_turn("discriminator", critic, real)
    term = Dragan(deviation=0.25).discriminator(turn)
    near = real + 0.25 * rows(6, name="regularizers/dragan").normal(6, 3)
    norms = [0.7 * math.sqrt(sum(x * x for x in row)) for row in near.tolist()]
    assert term.item() == pytest.approx(mean((norm - 1) ** 2 for norm in norms), abs=1e-12)
    flat = Dragan().discriminator(make_turn("discriminator", Linear(torch.zeros(3)), torch.randn(4, 3)))
    flat.backward()
    assert flat.item() == 1


def lecam_after(turns: list[tuple[list[float], list[float]]], lecam: LeCam) -> Memory:
    memory = Memory(lecam.memory(FACTS))
    for real, fake in turns:
        seen = {"real": torch.tensor(real), "fake": torch.tensor(fake)}
        lecam.update(memory, Seen("discriminator", [seen], Span(0, len(real), len(real))))
    return memory


def test_lecam_compares_with_the_means_from_before_the_turn():
    lecam = LeCam(decay=0.9)
    memory = lecam_after([([1.0, 3.0], [0.0, -1.0]), ([4.0, 6.0], [1.0, 2.0])], lecam)
    # Weighted means, the newer turn with 1 and the older with 0.9.
    real, fake = (0.9 * 2 + 5) / 1.9, (0.9 * -0.5 + 1.5) / 1.9
    logits = [-1.0, 0.5, 2.0]
    critic = Says(logits, torch.float64)
    turn = make_turn("discriminator", critic, torch.zeros(3, 2, dtype=torch.float64), memories={lecam.key: memory})
    expected = mean((x - fake) ** 2 for x in logits) + mean((x - real) ** 2 for x in logits)
    assert lecam.discriminator(turn).item() == pytest.approx(expected, abs=1e-12)


def test_lecam_has_nothing_to_compare_with_at_first_and_does_not_learn_from_the_generators_turn():
    lecam = LeCam()
    memory = Memory(lecam.memory(FACTS))
    lecam.update(memory, Seen("generator", [{"fake": torch.ones(2)}], Span(0, 2, 2)))
    critic = Says([5.0, 7.0], torch.float64)
    turn = make_turn("discriminator", critic, torch.zeros(2, 2, dtype=torch.float64), memories={lecam.key: memory})
    assert lecam.discriminator(turn).item() == 0


def test_balanced_consistency_is_the_change_of_the_verdict():
    weight = torch.randn(3, 8, 8, dtype=torch.float64)
    real, term = torch.randn(5, 3, 8, 8, dtype=torch.float64), BalancedConsistency(real=2.0, fake=3.0)
    turn = make_turn("discriminator", Linear(weight), real)
    found = term.discriminator(turn).item()
    noise, critic = rows(5, name=term.key), Linear(weight)
    expected = 0.0
    for share, images in ((2.0, real), (3.0, turn.fake)):
        changed = flipped_and_shifted(images, noise, term.shift)
        expected += share * (critic(changed, None) - critic(images, None)).square().mean().item()
    assert found == pytest.approx(expected, abs=1e-10)
    assert expected > 0
    assert BalancedConsistency().refuse(FACTS)


def test_flips_and_shifts_by_hand():
    images = torch.arange(2 * 1 * 8 * 8, dtype=torch.float64).view(2, 1, 8, 8)
    noise = rows(2)
    choice = rows(2).uniform(2, 3)
    changed = flipped_and_shifted(images, noise, 0.25)
    for image, new, (mirror, down, across) in zip(images, changed, choice.tolist(), strict=True):
        down, across = int(down * 5) - 2, int(across * 5) - 2
        source = image[0].flip(1) if mirror < 0.5 else image[0]
        for row in range(8):
            for column in range(8):
                # Mirrored about the outermost pixel.
                at = [abs(row - down), abs(column - across)]
                at = [place if place < 8 else 14 - place for place in at]
                assert new[0, row, column] == source[at[0], at[1]]


class Warp(nn.Module):
    """A generator whose image is a matrix times the styles, scaled per layer: its Jacobian is known."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(2 * 12, 4, dtype=torch.float64))

    def draw(self, noise: Noise, n: int) -> Tensor:
        return noise.normal(n, 2, 4)

    def map(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        # With a graph to the weights, as a mapping network has.
        return latents + 0.0 * self.matrix.sum()

    def synthesize(self, styles: Tensor) -> Tensor:
        return torch.einsum("pd,bld->bp", self.matrix, styles * torch.tensor([[1.0], [2.0]])).view(-1, 2, 3, 4)


def test_path_length_of_a_linear_generator():
    torch.manual_seed(0)
    generator, term = Warp(), PathLength(decay=0.5)
    memory = Memory(term.memory(Facts((2, 3, 4), 0, 10, "any")))
    memory.mean.fill_(0.7)
    turn = Turn(
        players={"generator": generator},
        role="generator",
        rows={},
        span=Span(0, 5, 5),
        moment=Moment(3, 5, 0, 0),
        dtype=torch.float64,
        memories={term.key: memory},
    )
    found = term.generator(turn)
    images = rows(5, name=term.key).normal(5, 2, 3, 4) / math.sqrt(12)
    lengths = []
    for image in images:
        per_layer = [factor * (image.flatten() @ generator.matrix.detach()) for factor in (1.0, 2.0)]
        lengths.append(math.sqrt(mean(sum(x * x for x in layer.tolist()) for layer in per_layer)))
    assert found.item() == pytest.approx(mean((length - 0.7) ** 2 for length in lengths), abs=1e-12)
    found.backward()
    assert generator.matrix.grad.isfinite().all()
    term.update(memory, Seen("generator", [turn.seen], turn.span))
    assert memory.mean.item() == pytest.approx(0.5 * 0.7 + 0.5 * mean(lengths), abs=1e-12)
    # A turn that did not measure it leaves the mean alone.
    before = memory.mean.item()
    term.update(memory, Seen("generator", [{}], turn.span))
    assert memory.mean.item() == before


class Matrices(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense, self.table = nn.Linear(2, 2), nn.Embedding(3, 2)
        self.convolution = nn.Conv2d(1, 2, (1, 2))
        with torch.no_grad():
            self.dense.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, -1.0]]))
            self.convolution.weight.copy_(torch.tensor([[2.0, 0.5], [1.0, 4.0]]).view(2, 1, 1, 2))


def test_orthogonal_counts_products_of_different_rows_of_matrices_only():
    turn = make_turn("discriminator", Matrices().double(), torch.zeros(2, 2, dtype=torch.float64))
    both = Orthogonal(player="both")
    # Rows (1, 2)·(3, -1) = 1 and (2, 0.5)·(1, 4) = 4, each twice in the Gram matrix.
    assert both.method("discriminator")(turn).item() == pytest.approx(2 * 1 + 2 * 16)
    assert Orthogonal().method("discriminator") is None
    assert Orthogonal().method("generator") is not None
    assert both.method("encoder") is None


class Classifies(nn.Module):
    def __init__(self, classes: list[list[float]] | None):
        super().__init__()
        self.classes = None if classes is None else torch.tensor(classes, dtype=torch.float64)

    def forward(self, images: Tensor, labels: Tensor | None) -> Verdict:
        return Verdict(images.sum(1), self.classes)


def test_auxiliary_classifier_is_the_cross_entropy_of_the_labels_asked_for():
    classes, labels = [[2.0, 0.0, -1.0], [0.5, 0.5, 0.0]], [0, 2]
    expected = mean(
        math.log(sum(math.exp(x) for x in row)) - row[label] for row, label in zip(classes, labels, strict=True)
    )
    for role, times in (("discriminator", 2), ("generator", 1)):
        turn = make_turn(role, Classifies(classes), torch.zeros(2, 2, dtype=torch.float64))
        turn.rows["labels"] = torch.tensor(labels)  # type: ignore[index]
        found = AuxiliaryClassifier().method(role)(turn)
        assert found.item() == pytest.approx(times * expected, abs=1e-12)
    turn = make_turn("generator", Classifies(None), torch.zeros(2, 2, dtype=torch.float64))
    with pytest.raises(RunError, match="returns no class logits"):
        AuxiliaryClassifier().generator(turn)
    assert AuxiliaryClassifier().refuse(Facts((2,), 0, 10, "any"))


def test_a_weight_follows_the_images_seen_and_is_n_times_as_heavy_every_n_turns():
    term = R2(weight=4.0, every=2, anneal=Anneal(to=1.0, over=200, begin=100, shape="cosine"))
    heavy = [term.strength(images) for images in (0, 100, 200, 300, 1000)]
    assert heavy == pytest.approx([8.0, 8.0, 5.0, 2.0, 2.0])
    loss = NonSaturating(regularizers=(term,))
    weight, real = torch.tensor([3.0, -4.0], dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    for count, images, factor in ((0, 0, 8.0), (1, 0, 0.0), (2, 200, 5.0)):
        turn = make_turn("discriminator", Linear(weight), real, differentiable=True)
        turn.moment = Moment(3, 5, 0, count, images)
        objective, terms = play(loss, turn, 1.0)
        plain = NonSaturating().discriminator(turn)["total"]
        assert (objective - plain).item() == pytest.approx(factor * 12.5)
        assert terms["total"].item() == pytest.approx(objective.item())


def test_lazy_turns_add_up_to_eager_ones_at_fixed_weights():
    weight, real = torch.tensor([3.0, -4.0], dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)

    def gradient(every: int) -> Tensor:
        critic, loss = Linear(weight.clone()), NonSaturating(regularizers=(R2(weight=0.3, every=every),))
        for count in range(4):
            turn = make_turn("discriminator", critic, real, differentiable=True)
            turn.moment = Moment(3, 5, 0, count)
            play(loss, turn, 1.0)[0].backward()
        return critic.weight.grad

    assert torch.allclose(gradient(4), gradient(1), atol=1e-12)
