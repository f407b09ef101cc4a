"""The losses of image-to-image methods against formulas written out by hand, and CycleGAN's pool."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from gandist_losses.cut import Cut, contrast
from gandist_losses.cyclegan import CycleGAN
from gandist_losses.pix2pix import Pix2Pix
from torch import Tensor, nn

from gandist import Facts, Memory, Seen, Turn
from gandist.contract.turn import Moment, Span

ROWS, SHAPE = 4, (2, 4, 4)


class Scale(nn.Module):
    """G(x) = s x."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale

    def features(self, images: Tensor) -> list[Tensor]:
        return [images, images[:, :, ::2, ::2] * 3]


class Patches(nn.Module):
    """D(x) = w · the sum over channels, for every pixel."""

    def __init__(self, weight: float):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return images.sum(1) * self.weight


class Unit(nn.Module):
    def forward(self, patches: list[Tensor]) -> list[Tensor]:
        return [rows / rows.norm(dim=-1, keepdim=True) for rows in patches]


def player(**networks: nn.Module) -> nn.Module:
    return _Player(networks)


class _Player(nn.Module):
    def __init__(self, networks: dict[str, nn.Module]):
        super().__init__()
        for name, network in networks.items():
            self.add_module(name, network)


def rows(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(ROWS, *SHAPE, generator=generator, dtype=torch.float64) * 2 - 1 for name in "ab"}


def turn(
    role: str, players: dict[str, nn.Module], span: tuple[int, int] = (0, ROWS), step: int = 5, **given: Any
) -> Turn:
    data = {name: entry[span[0] : span[1]] for name, entry in rows().items()}
    moment = Moment(seed=3, step=step, number=0, count=step)
    return Turn(players, role, data, Span(*span, ROWS), moment, dtype=torch.float64, **given)


def two_ways() -> dict[str, nn.Module]:
    return {
        "generator": player(to_b=Scale(0.5), to_a=Scale(-0.75)),
        "discriminator": player(on_b=Patches(0.3), on_a=Patches(-0.2)),
    }


def mean(values: Tensor) -> float:
    flat = values.flatten().tolist()
    return math.fsum(flat) / len(flat)


def test_cyclegan_generator():
    terms = CycleGAN(cycle=10, identity=0.5, pool=0).generator(turn("generator", two_ways()))
    a, b = rows()["a"], rows()["b"]
    adversarial = mean((0.3 * (0.5 * a).sum(1) - 1) ** 2) + mean((-0.2 * (-0.75 * b).sum(1) - 1) ** 2)
    cycle = mean((0.5 * -0.75 * a - a).abs()) + mean((-0.75 * 0.5 * b - b).abs())
    identity = mean((0.5 * b - b).abs()) + mean((-0.75 * a - a).abs())
    assert terms["adversarial"].item() == pytest.approx(adversarial, abs=1e-12)
    assert terms["cycle"].item() == pytest.approx(cycle, abs=1e-12)
    assert terms["identity"].item() == pytest.approx(identity, abs=1e-12)
    assert terms["total"].item() == pytest.approx(adversarial + 10 * cycle + 5 * identity, abs=1e-11)


def test_cyclegan_without_identity_has_none():
    terms = CycleGAN(identity=0, pool=0).generator(turn("generator", two_ways()))
    assert set(terms) == {"total", "adversarial", "cycle"}


def test_cyclegan_discriminator_judges_both_domains_and_moves_no_generator():
    players = two_ways()
    dealt = turn("discriminator", players)
    terms = CycleGAN(pool=0).discriminator(dealt)
    a, b = rows()["a"], rows()["b"]
    on_b = mean((0.3 * b.sum(1) - 1) ** 2) + mean((0.3 * 0.5 * a.sum(1)) ** 2)
    on_a = mean((-0.2 * a.sum(1) - 1) ** 2) + mean((-0.2 * -0.75 * b.sum(1)) ** 2)
    assert terms["total"].item() == pytest.approx(0.5 * (on_a + on_b), abs=1e-12)
    terms["total"].backward()
    assert all(parameter.grad is None for parameter in players["generator"].parameters())
    assert all(parameter.grad is not None for parameter in players["discriminator"].parameters())
    assert dealt.seen["fake"].shape == (ROWS, 2, *SHAPE[1:])


def by_hand(pool: list[Tensor], size: int, fakes: Tensor, draws: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What is judged, and the pool afterwards: images enter while there is room, then half of them change places."""
    before, after, judged = list(pool), list(pool), []
    for fake, (swap, slot) in zip(fakes, draws.tolist(), strict=True):
        place = int(slot * size)
        if len(after) < size:
            judged.append(fake)
            after.append(fake)
        elif swap < 0.5:
            judged.append(before[place] if place < len(before) else fake)
            after[place] = fake
        else:
            judged.append(fake)
    return judged, after


def test_the_pool_fills_and_then_changes_half_of_its_images():
    loss = CycleGAN(pool=6)
    memory = Memory(loss.memory(Facts(SHAPE, 0, 10, "any")))
    pools: dict[str, list[Tensor]] = {"a": [], "b": []}
    swapped = 0
    for step in range(12):
        dealt = turn("discriminator", two_ways(), step=step, memories={loss.key: memory})
        asked: dict[str, list[Tensor]] = {"a": [], "b": []}
        for domain in "ab":
            critic = getattr(dealt.players["discriminator"], f"on_{domain}")
            critic.register_forward_pre_hook(lambda _, args, kept=asked[domain]: kept.append(args[0]))
        loss.discriminator(dealt)
        before = {name: buffer.clone() for name, buffer in memory.named_buffers()}
        for domain in "ab":
            fakes = dealt.seen[f"{domain} fakes"].double().div(127.5).sub(1)
            judged, pools[domain] = by_hand(pools[domain], 6, fakes, dealt.seen[f"{domain} draws"])
            torch.testing.assert_close(asked[domain][1], torch.stack(judged), atol=1 / 127, rtol=0)
        loss.update(memory, Seen("discriminator", [dealt.seen], dealt.span))
        for domain in "ab":
            swapped += int((memory.get_buffer(domain) != before[domain]).any())
            held = memory.get_buffer(domain)[: len(pools[domain])].double().div(127.5).sub(1)
            torch.testing.assert_close(held, torch.stack(pools[domain]))
        assert memory.held == min(6, ROWS * (step + 1))
    assert swapped > 4


def test_the_pool_is_the_same_in_two_parts():
    loss = CycleGAN(pool=6)
    states = []
    for spans in ([(0, ROWS)], [(0, 3), (3, ROWS)]):
        memory = Memory(loss.memory(Facts(SHAPE, 0, 10, "any")))
        for step in range(5):
            parts = []
            for span in spans:
                dealt = turn("discriminator", two_ways(), span, step, memories={loss.key: memory})
                loss.discriminator(dealt)
                parts.append(dealt.seen)
            loss.update(memory, Seen("discriminator", parts, Span(0, ROWS, ROWS)))
        states.append({name: buffer.clone() for name, buffer in memory.named_buffers()})
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_pix2pix():
    players = {"generator": player(to_b=Scale(0.5)), "discriminator": player(on_b=Patches(0.3))}
    a, b = rows()["a"], rows()["b"]

    def softplus(values: Tensor) -> Tensor:
        return (1 + values.exp()).log()

    made, real = 0.3 * (a + 0.5 * a).sum(1), 0.3 * (a + b).sum(1)
    terms = Pix2Pix(l1=100).generator(turn("generator", players))
    expected = mean(softplus(-made)) + 100 * mean((b - 0.5 * a).abs())
    assert terms["total"].item() == pytest.approx(expected, abs=1e-10)
    judged = Pix2Pix().discriminator(turn("discriminator", players))["total"].item()
    assert judged == pytest.approx(0.5 * (mean(softplus(-real)) + mean(softplus(made))), abs=1e-12)


def test_contrast_is_the_entropy_of_finding_the_own_patch():
    generator = torch.Generator().manual_seed(1)
    queries, keys = (
        nn.functional.normalize(torch.randn(2, 5, 3, generator=generator, dtype=torch.float64), dim=-1) for _ in "qk"
    )
    expected = []
    for query, key in zip(queries.tolist(), keys.tolist(), strict=True):
        for own, vector in enumerate(query):
            scores = [math.exp(sum(x * y for x, y in zip(vector, other, strict=True)) / 0.07) for other in key]
            expected.append(-math.log(scores[own] / math.fsum(scores)))
    assert contrast(queries, keys, 0.07).item() == pytest.approx(math.fsum(expected) / 10, abs=1e-10)


def cut_players() -> dict[str, nn.Module]:
    return {"generator": player(to_b=Scale(0.5), heads=Unit()), "discriminator": player(on_b=Patches(0.3))}


def test_cut_takes_all_places_where_there_are_few():
    """With as many patches as places the order is all that chance decides, and the mean knows no order."""
    terms = Cut(nce=2, identity=True).generator(turn("generator", cut_players()))
    a, b = rows()["a"], rows()["b"]

    def nce(images: Tensor) -> float:
        depths = []
        for maps in (images, images[:, :, ::2, ::2]):
            patches = maps.flatten(2).transpose(1, 2)
            unit = patches / patches.norm(dim=-1, keepdim=True)
            likeness = unit @ unit.transpose(1, 2) / 0.07
            own = likeness.diagonal(dim1=1, dim2=2)
            depths.append(mean(likeness.exp().sum(2).log() - own))
        return sum(depths) / 2

    adversarial = mean((0.3 * 0.5 * a.sum(1) - 1) ** 2)
    assert terms["nce"].item() == pytest.approx(nce(a), abs=1e-6)
    assert terms["total"].item() == pytest.approx(adversarial + 2 * 0.5 * (nce(a) + nce(b)), abs=1e-5)


def test_cut_places_belong_to_the_row():
    loss = Cut(patches=3)
    maps = torch.zeros(ROWS, 1, 5, 5)
    whole = loss._places(turn("generator", cut_players()), maps)
    part = loss._places(turn("generator", cut_players(), (1, 3)), maps[1:3])
    assert torch.equal(part, whole[1:3])
    assert all(len(set(row)) == 3 for row in whole.tolist())
    assert len({tuple(row) for row in whole.tolist()}) > 1


@pytest.mark.parametrize(("loss", "fields"), [(CycleGAN, {"pool": -1}), (Cut, {"nce": 0}), (Pix2Pix, {"l1": -1})])
def test_refused(loss: type, fields: dict[str, Any]):
    with pytest.raises(ValueError, match="greater"):
        loss(**fields)
