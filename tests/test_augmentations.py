"""Augmentations: what they do to images by hand, how gradients flow, and ADA's controller."""

import math
from typing import Literal

import pytest
import torch
from gandist_augmentations.ada import Ada, _hue, _turn
from gandist_augmentations.diffaugment import DiffAugment
from gandist_augmentations.flips import Flips
from gandist_augmentations.resampling import warped
from torch import Tensor

from gandist import Anneal, Augmentation, Facts, Memory, Noise, Seen
from gandist.contract.turn import Span

FACTS = Facts((3, 16, 16), 0, 10, "any")
ALL = [Flips(), DiffAugment(), Ada(start=1.0), Ada(start=0.5), Ada(start=1.0, color=False), DiffAugment(policy=())]
ALL += [DiffAugment(outside="edge")]


def rows(total: int, start: int = 0, stop: int | None = None) -> Noise:
    span = {"start": start, "stop": total if stop is None else stop, "total": total}
    return Noise(3, "any", **span, device=torch.device("cpu"), dtype=torch.float64)


def images(count: int = 6, channels: int = 3, size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, channels, size, size, generator=generator, dtype=torch.float64) * 2 - 1


def apply(augmentation: Augmentation, given: Tensor, noise: Noise | None = None) -> Tensor:
    buffers = augmentation.memory(FACTS)
    return augmentation.apply(given, noise or rows(len(given)), Memory(buffers) if buffers else None)


@pytest.mark.parametrize("augmentation", ALL)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_is_changed_alike_wherever_it_is_computed(augmentation: Augmentation, channels: int):
    given = images(channels=channels)
    whole = apply(augmentation, given)
    assert whole.shape == given.shape
    parts = [apply(augmentation, given[a:b], rows(6, a, b)) for a, b in ((0, 4), (4, 6))]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-12)


@pytest.mark.parametrize("augmentation", ALL)
def test_gradients_flow_twice(augmentation: Augmentation):
    given = images(2, 1, 8).requires_grad_()
    noise = rows(2)

    def judged(one: Tensor) -> Tensor:
        noise._requests = 0
        return apply(augmentation, one, noise).pow(3).sum((1, 2, 3))

    assert torch.autograd.gradcheck(judged, given, fast_mode=True)
    assert torch.autograd.gradgradcheck(judged, given, fast_mode=True)


@pytest.mark.parametrize("augmentation", [Flips(), DiffAugment(), Ada()])
def test_points_are_refused(augmentation: Augmentation):
    assert augmentation.refuse(Facts((2,), 0, 10, "points"))
    assert augmentation.refuse(FACTS) is None


def test_flips_mirror_half_of_the_images():
    given = images(400, 1, 4)
    made = apply(Flips(), given)
    mirrored = [torch.equal(new, old.flip(2)) for new, old in zip(made, given, strict=True)]
    kept = [torch.equal(new, old) for new, old in zip(made, given, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 160 < sum(mirrored) < 240
    assert torch.equal(apply(Flips(probability=0.0), given), given)


def test_colour_by_hand():
    given = images()
    made = apply(DiffAugment(policy=("color",)), given)
    for image, new, (brightness, saturation, contrast) in zip(
        given, made, rows(6).uniform(6, 3, 1, 1, 1).flatten(1).tolist(), strict=True
    ):
        expected = image + (brightness - 0.5)
        grey = expected.mean(0, keepdim=True)
        expected = (expected - grey) * (2 * saturation) + grey
        mean = expected.mean()
        expected = (expected - mean) * (contrast + 0.5) + mean
        assert torch.allclose(new, expected, atol=1e-12)


@pytest.mark.parametrize("outside", ["grey", "edge"])
def test_translation_moves_all_images_and_fills_in(outside: Literal["grey", "edge"]):
    given = images(64, 1)
    made = apply(DiffAugment(policy=("translation",), outside=outside), given)
    moves = set()
    for image, new in zip(given[:, 0], made[:, 0], strict=True):
        found = [
            (down, across)
            for down in range(-2, 3)
            for across in range(-2, 3)
            if torch.equal(new, _moved(image, down, across, outside))
        ]
        assert len(found) == 1
        moves.add(found[0])
    assert {move for pair in moves for move in pair} == {-2, -1, 0, 1, 2}


def _moved(image: Tensor, down: int, across: int, outside: str) -> Tensor:
    new, size = torch.zeros_like(image), len(image)
    for row in range(size):
        for column in range(size):
            above, left = (min(max(place, 0), size - 1) for place in (row - down, column - across))
            if outside == "edge" or (above, left) == (row - down, column - across):
                new[row, column] = image[above, left]
    return new


def test_cutout_greys_a_square():
    made = apply(DiffAugment(policy=("cutout",)), torch.ones(200, 2, 16, 16, dtype=torch.float64))
    holes = (made == 0).sum((1, 2, 3)) / 2
    assert holes.max() == 64
    # At a corner a quarter of the square is inside.
    assert 16 <= holes.min() < 64
    assert torch.equal(made[:, 0], made[:, 1])


@pytest.mark.parametrize("size", [8, 15, 16])
def test_the_identity_changes_nothing(size: int):
    given = images(size=size)
    made = warped(given, torch.eye(3, dtype=torch.float64).expand(6, 3, 3))
    assert torch.allclose(made, given, atol=1e-10)


def test_beyond_its_border_an_image_goes_on_as_its_mirror_image():
    given, maps = images(2, 1, 16), torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    maps[:, 0, 2] = 3
    made = warped(given, maps)
    mirrored = torch.cat([given, given.flip(3)[..., 1:4]], dim=3)[..., 3:]
    assert torch.allclose(made, mirrored, atol=1e-10)


@pytest.mark.parametrize(("down", "across"), [(3, 0), (0, -2), (1, 4)])
def test_a_whole_number_of_pixels_moves_exactly(down: int, across: int):
    given, maps = images(2, 1, 32), torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    maps[:, 0, 2], maps[:, 1, 2] = across, down
    made = warped(given, maps)
    inner = slice(11, 21)
    moved = given.roll((-down, -across), (2, 3))
    assert torch.allclose(made[..., inner, inner], moved[..., inner, inner], atol=1e-10)


def test_a_quarter_turn_is_rot90():
    line = torch.linspace(-1, 1, 32, dtype=torch.float64)
    given = (torch.sin(4 * line[:, None]) * torch.cos(2 * line[None, :] + 1)).expand(1, 2, 32, 32)
    made = warped(given, _turn(torch.full((1,), math.pi / 2, dtype=torch.float64)))
    gaps = [(made - given.rot90(k, (2, 3))).abs().max().item() for k in (1, 3)]
    # The filters are not quite symmetric, hence not exact.
    assert min(gaps) < 0.1
    assert max(gaps) > 1


def test_a_smooth_image_is_scaled_as_it_should():
    line = torch.linspace(-1, 1, 64, dtype=torch.float64)
    given = (line[:, None] * 0.5 + line[None, :] * 0.25).expand(1, 1, 64, 64)
    maps = torch.diag(torch.tensor([0.5, 0.5, 1.0], dtype=torch.float64))[None]
    made = warped(given, maps)
    inner = slice(8, 56)
    assert torch.allclose(made[..., inner, inner], 0.5 * given[..., inner, inner], atol=5e-3)


def test_hues_turn_about_grey():
    matrix = _hue(torch.tensor([2 * math.pi / 3], dtype=torch.float64))[0]
    # A third of a turn exchanges the channels.
    permutation = torch.tensor([[0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
    assert torch.allclose(matrix, permutation, atol=1e-12)
    assert torch.allclose(matrix @ torch.ones(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))


def test_ada_changes_nothing_at_zero():
    given = images(size=32)
    made = apply(Ada(), given)
    assert torch.allclose(made, given, atol=1e-10)


def controlled(ada: Ada, logits: list[list[float]]) -> list[float]:
    memory, found = Memory(ada.memory(FACTS)), []
    for real in logits:
        ada.update(memory, Seen("generator", [{"fake": torch.ones(4)}], Span(0, 4, 4)))
        seen = {"real": torch.tensor(real), "fake": torch.zeros(4)}
        ada.update(memory, Seen("discriminator", [seen], Span(0, 4, 4)))
        found.append(memory.p.item())
    return found


def test_p_follows_the_signs_on_real_images():
    sure, unsure = [1.0, 2.0, 0.5, 3.0], [1.0, -1.0, 1.0, -2.0]
    ada = Ada(images=80, interval=2, target=0.6)
    # Two turns of four images are a tenth of the way from 0 to 1.
    assert controlled(ada, [sure] * 4 + [unsure] * 6) == pytest.approx(
        [0.0, 0.1, 0.1, 0.2, 0.2, 0.1, 0.1, 0.0, 0.0, 0.0], abs=1e-12
    )
    # The mean over the interval counts: 5 of 8 signs more than the others is 0.5 in the mean.
    assert controlled(ada, [sure, [1.0, 1.0, -1.0, -1.0]])[-1] == 0.0
    assert controlled(Ada(images=8, interval=1), [sure] * 4)[-1] == 1.0


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_p_follows_its_way_whatever_the_logits(shape):
    anneal = Anneal(to=0.6, over=12, begin=4, shape=shape)
    found = controlled(Ada(start=0.2, anneal=anneal), [[1.0] * 4, [-1.0] * 4, [1.0] * 4, [1.0] * 4, [-1.0] * 4])
    assert found == pytest.approx([anneal.value(0.2, images) for images in (4, 8, 12, 16, 20)], abs=1e-12)
    assert (found[0], found[-1]) == pytest.approx((0.2, 0.6))
    with pytest.raises(ValueError, match="probability"):
        Ada(anneal=Anneal(to=1.5, over=10))
