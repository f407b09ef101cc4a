"""`gandist interpret` finds what was planted: directions, factors, copies, and what the discriminator really says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zoo
from PIL import Image
from torch import Tensor, nn

from gandist import ConfigError, Facts
from gandist.cli import main
from gandist.contract.noise import Noise
from gandist.contract.turn import Verdict
from gandist.training.sampling import draw
from gandist.using.interpreting import real
from gandist.using.interpreting.directions import find_directions
from gandist.using.interpreting.factors import find_factors
from gandist.using.interpreting.neighbours import find_nearest, write_neighbours
from gandist.using.interpreting.scores import FAKE, TRAIN, UNSEEN, fake_logits, ranked_above, real_logits, write_scores
from gandist.using.interpreting.spaces import Space
from gandist.using.interpreting.truncation import write_truncation
from gandist.using.interpreting.walks import write_walks
from gandist.using.load import load
from gandist.using.pictures import slerp, write_interpolation
from gandist.using.trained import Trained

CPU = torch.device("cpu")
SIDE = 4
PIXELS = SIDE * SIDE
LATENTS = 5000


def generator_of(latent: int, forward: Callable[[Tensor, Tensor | None], Tensor], *layers: nn.Module) -> nn.Module:
    """A generator of these layers, whose forward is the function."""

    class Planted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(layers)
            self.anchor = nn.Parameter(torch.zeros(1))

        def draw(self, noise: Noise, n: int) -> Tensor:
            return noise.normal(n, latent)

        def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
            return forward(latents, labels).view(-1, 1, SIDE, SIDE)

    return Planted().eval().requires_grad_(False)


def trained(digits: Trained, generator: nn.Module, classes: int = 0, shape: tuple[int, ...] = (1, SIDE, SIDE)):
    facts = Facts(shape, classes, 100, "planted")
    return Trained(Path("planted"), digits.config, facts, 1, generator, lambda name: nn.Identity())


def linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data.copy_(weight)
    return layer


def basis(size: int, seed: int = 0) -> Tensor:
    """A random orthonormal basis, a vector a row."""
    return torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)))[0]


def stretched(strengths: list[float], latent: int = 10) -> tuple[Tensor, Tensor]:
    """A map (16, latent) with these singular values, and the latents' directions that it stretches by them."""
    directions = basis(latent)[: len(strengths)]
    return basis(PIXELS, 1)[:, : len(strengths)] @ (torch.tensor(strengths)[:, None] * directions), directions


def cosines(found: Tensor, planted: Tensor) -> Tensor:
    return (found.float() * planted).sum(1).abs()


def test_directions_of_a_linear_generator_are_those_it_stretches(digits: Trained):
    weight, planted = stretched([3.0, 2.0, 1.0, 0.5])
    layer = linear(weight)
    space = Space(trained(digits, generator_of(10, lambda z, _: layer(z), layer)))
    found = find_directions(space, 8, LATENTS)
    assert len(found.vectors) == 4, "the generator has four"
    assert cosines(found.vectors, planted).min() > 0.99
    shares = torch.tensor([9.0, 4.0, 1.0, 0.25]) / 14.25
    torch.testing.assert_close(found.shares.float(), shares, rtol=0.1, atol=0)
    torch.testing.assert_close(found.spreads, torch.ones(4, dtype=torch.float64), rtol=0.05, atol=0)
    assert found.straight is not None
    assert found.straight.min() > 0.9999


def test_a_direction_behind_an_activation_is_carried_back_to_latents(digits: Trained):
    planted = basis(12)[:2]
    towards = basis(40, 2)[:2]
    first = linear(5.0 * torch.outer(towards[0], planted[0]) + 3.0 * torch.outer(towards[1], planted[1]))
    first.weight.data += 0.1 * torch.randn(40, 12, generator=torch.Generator().manual_seed(3))
    second = nn.Linear(40, PIXELS)
    network = generator_of(12, lambda z, _: second(torch.nn.functional.leaky_relu(first(z), 0.2)), first, second)
    found = find_directions(Space(trained(digits, network)), 2, LATENTS)
    assert found.of == "principal directions of the features that layers.1 is given"
    assert cosines(found.vectors, planted).min() > 0.99


class Styled(nn.Module):
    """Styles with a planted spread, whose layers are the rows of the picture."""

    def __init__(self, spread: Tensor, axes: Tensor):
        super().__init__()
        self.spread, self.axes = nn.Parameter(spread), nn.Parameter(axes)
        self.to_rows = nn.ModuleList(nn.Linear(len(spread), SIDE) for _ in range(SIDE))

    def draw(self, noise: Noise, n: int) -> Tensor:
        return noise.normal(n, len(self.spread))

    def map(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return (1.0 + (latents * self.spread) @ self.axes)[:, None].expand(-1, SIDE, -1)

    def synthesize(self, styles: Tensor) -> Tensor:
        rows = [layer(style) for layer, style in zip(self.to_rows, styles.unbind(1), strict=True)]
        return torch.stack(rows, dim=1)[:, None].tanh()

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.synthesize(self.map(latents, labels))


def test_directions_of_styles_are_their_principal_components(digits: Trained):
    spread, axes = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.25, 0.1]), basis(6)
    network = Styled(spread, axes).eval().requires_grad_(False)
    space = Space(trained(digits, network), layers="0,2..3")
    assert (space.name, space.depth, space.layers) == ("styles", SIDE, (0, 2, 3))
    found = find_directions(space, 3, LATENTS)
    assert found.of == "principal directions of the styles of layers 0,2..3"
    assert cosines(found.vectors, axes[:3]).min() > 0.99
    torch.testing.assert_close(found.spreads.float(), spread[:3], rtol=0.05, atol=0)
    torch.testing.assert_close(found.shares.float(), (spread.square() / spread.square().sum())[:3], rtol=0.1, atol=0)
    codes = next(space.codes(3, 0))
    before, after = space.render(codes), space.render(space.moved(codes, 4 * found.vectors[0]))
    changed = (before != after).any(0)[0].any(1).tolist()
    assert changed == [True, False, True, True], "a layer that was not chosen moved, or one that was did not"


def svd(weight: Tensor, count: int) -> tuple[Tensor, Tensor]:
    _, values, vectors = np.linalg.svd(weight.double().numpy())
    return torch.from_numpy(vectors[:count]), torch.from_numpy(values[:count] ** 2 / (values**2).sum())


def agree(space: Space, weight: Tensor, count: int = 3) -> None:
    found = find_factors(space, count)
    vectors, shares = svd(weight, count)
    torch.testing.assert_close((found.vectors * vectors).sum(1).abs(), torch.ones(count).double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.shares, shares, rtol=1e-3, atol=0)


def test_factors_of_a_linear_generator_are_its_singular_vectors(digits: Trained):
    weight, planted = stretched([3.0, 2.0, 1.0])
    layer = linear(weight)
    space = Space(trained(digits, generator_of(10, lambda z, _: layer(z), layer)))
    agree(space, weight)
    assert cosines(find_factors(space, 8).vectors, planted).min() > 0.9999


FIRST: dict[str, Callable[[nn.Module], Tensor]] = {
    "mlp-conv": lambda g: next(m for m in g.modules() if isinstance(m, nn.Linear)).weight,
    "dcgan": lambda g: g.body[0].weight.flatten(1).T,  # type: ignore[index]
    "sngan-resnet": lambda g: g.dense.weight,  # type: ignore[union-attr]
    "r3gan": lambda g: g.scales.weight,  # type: ignore[union-attr]
}


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("conditioning", ["none", "projection"])
def test_the_first_weights_of_shipped_networks_are_found(digits: Trained, name: str, conditioning: str):
    size, fields = zoo.smallest(name), {"name": name, **zoo.NARROW[name], "conditioning": conditioning}
    if name != "r3gan" and conditioning != "none":
        fields["generator_labels"] = "latent"
    generator = zoo.build(fields, (1, size, size))[0].eval().requires_grad_(False)
    space = Space(trained(digits, generator, zoo.CLASSES, (1, size, size)))
    # What stands behind the latents are labels.
    agree(space, FIRST[name](generator)[:, :8])


def test_each_part_of_hierarchical_latents_meets_weights_of_its_own(digits: Trained):
    generator = zoo.build({"name": "biggan", **zoo.NARROW["biggan"], "latent": 20}, (1, 32, 32))[0].eval()
    space = Space(trained(digits, generator.requires_grad_(False), zoo.CLASSES, (1, 32, 32)))
    part, label = 20 // 4, 6
    weights = [torch.cat([generator.dense.weight, torch.zeros(len(generator.dense.weight), 15)], 1)]
    blocks = [block for block in generator.blocks if hasattr(block, "norm1")]
    for number, block in enumerate(blocks, start=1):
        for norm in (block.norm1, block.norm2):
            for layer in (norm.gain, norm.bias):
                own = torch.zeros(len(layer.weight), 20)
                own[:, part * number : part * (number + 1)] = layer.weight[:, label:]
                weights.append(own)
    agree(space, torch.cat(weights).detach(), 2)


@pytest.fixture
def styles(digits: Trained) -> Trained:
    generator = zoo.build({"name": "stylegan2", **zoo.NARROW["stylegan2"]}, (1, 16, 16))[0].eval()
    generator.average.copy_(torch.randn(12, generator=torch.Generator().manual_seed(0)))
    return trained(digits, generator.requires_grad_(False), shape=(1, 16, 16))


@pytest.mark.parametrize("layers", [None, "0", "1,3..4"])
def test_stylegan2_says_which_weights_its_styles_meet(styles: Trained, layers: str | None, monkeypatch):
    space = Space(styles, layers=layers)
    own = find_factors(space, 5)
    monkeypatch.delattr(type(styles.generator), "factors")
    watched = find_factors(space, 5)
    torch.testing.assert_close(own.shares, watched.shares, rtol=1e-3, atol=0)
    torch.testing.assert_close(cosines(own.vectors, watched.vectors.float()), torch.ones(5), rtol=0, atol=1e-3)


def test_a_network_whose_first_layer_is_not_linear_has_no_factors(digits: Trained):
    layer = nn.Linear(10, PIXELS)
    network = generator_of(10, lambda z, _: layer(z.square()), layer)
    with pytest.raises(ConfigError, match=r"no layer that the latents meet first is linear.*factors\(\)"):
        find_factors(Space(trained(digits, network)), 3)
    no_layer = generator_of(PIXELS, lambda z, _: z.tanh())
    with pytest.raises(ConfigError, match="no layer that the latents meet first"):
        find_factors(Space(trained(digits, no_layer)), 3)
    deaf = generator_of(10, lambda z, _: torch.zeros(len(z), PIXELS))
    with pytest.raises(ConfigError, match="do not vary with the latents"):
        find_directions(Space(trained(digits, deaf)), 3, 100)
    network.factors = lambda: [torch.zeros(4, 9)]  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"should give 1 matrices of width 10.*it gives 1: \(4, 9\)"):
        find_factors(Space(trained(digits, network)), 3)


def test_directions_are_of_one_class(digits: Trained):
    by_class = torch.randn(3, PIXELS, generator=torch.Generator().manual_seed(5))
    weight, planted = stretched([1.0, 0.5])
    layer = linear(weight)
    network = generator_of(10, lambda z, labels: layer(z) + 20 * by_class[labels], layer)
    run = trained(digits, network, classes=3)
    for label in (None, 2):
        found = find_directions(Space(run, label=label), 2, LATENTS)
        assert cosines(found.vectors, planted).min() > 0.99
    assert Space(run, seed=1).label == int(draw(network, 1, 0, 1, 3, CPU)[1])
    with pytest.raises(ConfigError, match="label 3 is not there"):
        Space(run, label=3)


@pytest.mark.parametrize(
    ("layers", "message"),
    [("0..9", "layers 0 to 5"), ("3..1", "layers 0 to 5"), ("a", "write numbers and ranges"), ("", "write numbers")],
)
def test_layers_that_are_not_there(styles: Trained, layers: str, message: str):
    with pytest.raises(ConfigError, match=message):
        Space(styles, layers=layers)


def test_a_sheet_shows_each_sample_unmoved_in_the_middle(styles: Trained, tmp_path: Path):
    space = Space(styles, seed=3)
    found = find_directions(space, 2, 500)
    write_walks(space, found, tmp_path / "d.png", samples=2, steps=3)
    with Image.open(tmp_path / "d.png") as image:
        sheet = np.array(image.convert("L"))
    wanted = styles.sample(2, seed=3)[:, 0].numpy().repeat(4, 1).repeat(4, 2)
    rows = [place for place in range(len(sheet) - 64) if shown(sheet[place : place + 64], wanted[0])]
    assert len(rows) == 2, "once for each direction"
    assert [place for place in range(len(sheet) - 64) if shown(sheet[place : place + 64], wanted[1])]


def shown(strip: np.ndarray, picture: np.ndarray) -> bool:
    """Whether the picture stands somewhere in a strip of its height."""
    places = range(strip.shape[1] - picture.shape[1] + 1)
    return any(np.array_equal(strip[:, at : at + picture.shape[1]], picture) for at in places)


def test_walks_as_animation_and_as_numbers(styles: Trained, tmp_path: Path):
    space = Space(styles)
    found = find_factors(space, 2)
    write_walks(space, found, tmp_path / "d.gif")
    with Image.open(tmp_path / "d.gif") as gif:
        assert gif.n_frames == 46
    write_walks(space, found, tmp_path / "d.npz")
    with np.load(tmp_path / "d.npz") as arrays:
        np.testing.assert_allclose(np.linalg.norm(arrays["vectors"], axis=1), 1, rtol=1e-5)
        assert arrays["layers"].tolist() == list(range(6))


def test_truncation_sweeps(styles: Trained, digits: Trained, tmp_path: Path):
    for run in (styles, digits):
        told = write_truncation(run, tmp_path / "t.png", psi=[0.1, 0.5, 1.0], samples=2)
        assert told["variety"] == sorted(told["variety"])
        expected = run.sample(64, truncation=0.5).float().numpy().std(0, ddof=1).mean()
        assert told["variety"][1] == pytest.approx(expected, rel=1e-4)
    write_truncation(digits, tmp_path / "t.gif", psi=[0.5, 1.0])
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        write_truncation(digits, tmp_path / "u.png", psi=[0.0, 1.0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.gif", "t.png"]


def test_planted_copies_are_the_nearest(digits: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = digits.config.dataset.open()
    chosen = torch.tensor([17, 3, 1790, 512])
    copies = source.read(chosen.tolist())["real"].float() / 127.5 - 1

    class Copier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.copies = nn.Parameter(copies)

        def draw(self, noise: Noise, n: int) -> Tensor:
            return noise.normal(n, 2)

        def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
            return self.copies[torch.arange(len(latents)) % 4]

    run = replace(digits, generator=Copier())
    # Two dozen blocks, so that the nearest are merged over them.
    monkeypatch.setattr(real, "_BLOCK", 8 * 784 * 75)
    told = write_neighbours(run, tmp_path / "n.png", count=4, nearest=3)
    assert [row["indices"][0] for row in told["neighbours"]] == chosen.tolist()
    assert all(row["distances"][0] == 0 < row["distances"][1] for row in told["neighbours"])
    assert "warning" not in told
    every = source.read(range(len(source)))["real"].flatten(1).numpy().astype(float)
    for row in told["neighbours"]:
        apart = np.sqrt(((every - every[row["indices"][0]]) ** 2).mean(1))
        np.testing.assert_allclose(row["distances"], np.sort(apart)[:3])
        np.testing.assert_allclose(apart[row["indices"]], row["distances"])
    by_class = write_neighbours(run, tmp_path / "n.png", count=4, nearest=2, features="classifier")
    assert [row["indices"][0] for row in by_class["neighbours"]] == chosen.tolist()
    assert max(row["distances"][0] for row in by_class["neighbours"]) < 1e-3


def test_neighbours_want_the_data_that_the_run_was_trained_on(digits: Trained, tmp_path: Path):
    changed = replace(digits, facts=replace(digits.facts, fingerprint="other"))
    assert "has changed" in write_neighbours(changed, tmp_path / "n.png", count=1)["warning"]
    other = digits.config.model_copy(update={"dataset": digits.config.dataset.model_copy(update={"size": 32})})
    with pytest.raises(ConfigError, match=r"now has \(1, 32, 32\)"):
        write_neighbours(replace(digits, config=other), tmp_path / "m.png")
    with pytest.raises(ConfigError, match="--features inception: unknown extractor"):
        write_neighbours(digits, tmp_path / "m.png", features="inception")
    assert [path.name for path in tmp_path.iterdir()] == ["n.png"]


def test_scores_are_what_the_discriminator_says(digits: Trained, tmp_path: Path):
    train = digits.config.dataset.model_copy(update={"split": "train"})
    run = replace(digits, config=digits.config.model_copy(update={"dataset": train}))
    told = write_scores(run, tmp_path / "s.png", count=100, seed=4)
    critic = digits.discriminator
    source, test = train.open(), train.model_copy(update={"split": "test"}).open()
    for name, part in ((TRAIN, source), (UNSEEN, test)):
        logits = real_logits(run, critic, part, 100, 4)
        everyone = critic(part.read(range(len(part)))["real"].float() / 127.5 - 1, None)
        distance = (logits[:, None] - everyone.double()).abs().amin(1)
        assert distance.max() < 1e-4, "a logit that no sample has"
        assert len(logits.unique()) > 95, "the same sample again and again"
        assert told["logits"][name]["mean"] == pytest.approx(float(logits.mean()))
    whole = real_logits(run, critic, source, 10_000, 4)
    by_hand = critic(source.read(range(len(source)))["real"].float() / 127.5 - 1, None)
    torch.testing.assert_close(whole.sort().values.float(), by_hand.sort().values, rtol=1e-4, atol=1e-4)
    latents = torch.cat([draw(digits.generator, 4, a, b, 0, CPU)[0] for a, b in ((0, 64), (64, 100))])
    fakes = digits.generator(latents, None)
    torch.testing.assert_close(fake_logits(run, critic, 100, 4).float(), critic(fakes, None), rtol=1e-4, atol=1e-4)
    assert told["logits"][FAKE]["count"] == 100
    assert told["held_out"] == "test part of digits"
    for name in (TRAIN, UNSEEN, FAKE):
        assert sum(told["histogram"][name]) == pytest.approx(1)


def test_scores_say_that_there_are_no_held_out_samples(runs: Path, digits: Trained, tmp_path: Path):
    assert "dataset.split: all, which leaves nothing out" in write_scores(digits, tmp_path / "s.png", 70)["held_out"]
    told = write_scores(load(runs / "ring"), tmp_path / "r.png", 200)
    assert told["held_out"] == "the data set gaussians has no split into train and test"
    assert set(told["logits"]) == {TRAIN, FAKE}
    assert {name: told["logits"][name]["count"] for name in told["logits"]} == {TRAIN: 200, FAKE: 200}


def test_samples_are_judged_in_groups_and_asked_for_by_label(digits: Trained, tmp_path: Path):
    class Grouped(nn.Module):
        divisor = 3

        def forward(self, images: Tensor, labels: Tensor) -> Verdict:
            assert len(images) % 3 == 0
            assert set(labels.tolist()) == {1}
            return Verdict(images.mean((1, 2, 3)), classes=labels)

    layer = nn.Linear(10, PIXELS)
    network = generator_of(10, lambda z, labels: layer(z) + labels[:, None], layer)
    source = digits.config.dataset.open()
    facts = replace(source.facts, shape=(1, SIDE, SIDE))
    run = Trained(Path("grouped"), digits.config, facts, 1, network, lambda name: Grouped())
    assert len(fake_logits(run, Grouped(), 100, 0, 1)) == 99
    ones = int((source.read(range(len(source)))["labels"] == 1).sum())
    logits = real_logits(run, Grouped(), source, 100_000, 0, 1)
    assert len(logits) == ones // 3 * 3


def test_the_share_of_pairs_in_order():
    first, second = torch.tensor([0.0, 1.0, 2.0, 2.0]).double(), torch.tensor([1.0, 2.0, 5.0]).double()
    pairs = [(a > b) + 0.5 * (a == b) for a in first.tolist() for b in second.tolist()]
    assert ranked_above(first, second) == pytest.approx(sum(pairs) / len(pairs))
    assert ranked_above(first, first) == 0.5


def test_find_nearest_prefers_the_earlier_of_equal_images(digits: Trained):
    source = digits.config.dataset.open()
    sample = source.read([5])["real"]
    flat = Facts((1, 28, 28), 10, 4, "twins")

    class Twins:
        facts = flat

        def __len__(self) -> int:
            return 4

        def read(self, indices: range) -> dict[str, Tensor]:
            return {"real": sample.expand(len(indices), -1, -1, -1)}

    distances, indices = find_nearest(sample, Twins(), lambda x: x.flatten(1).double(), 3, CPU)  # type: ignore[arg-type]
    assert indices.tolist() == [[0, 1, 2]]
    assert distances.tolist() == [[0, 0, 0]]


def test_a_walk_is_spherical_or_linear(digits: Trained, tmp_path: Path):
    a, b = torch.nn.functional.normalize(torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0)), dim=2)
    cosine = torch.nn.functional.cosine_similarity
    angles = torch.stack([cosine(a, slerp(a, b, t)).arccos() for t in (0.25, 0.5, 1.0)])
    torch.testing.assert_close(angles / angles[-1], torch.tensor([0.25, 0.5, 1.0])[:, None].expand(-1, 5))
    write_interpolation(digits, tmp_path / "w.png", seed=3, frames=3, stops=2, way="linear")
    latents, _ = draw(digits.generator, 3, 0, 2, 0, CPU)
    middle = digits.render(latents.mean(0, keepdim=True), None)
    strip = np.array(Image.open(tmp_path / "w.png").convert("L")).astype(int)[2:-2:2, 2:-2:2]
    assert np.abs(strip[:, 28:56] - middle[0, 0].add(1).mul(127.5).numpy()).max() <= 1
    with pytest.raises(ConfigError, match=r"--way linar: a walk is spherical or linear; did you mean linear"):
        write_interpolation(digits, tmp_path / "v.png", way="linar")


def test_the_command_line(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run, out = str(runs / "digits"), tmp_path / "made" / "a.png"
    command = ["interpret", run, "directions", "--count", "2", "--latents", "500", "--out", str(out)]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["space"], told["layers"], told["step"], len(told["directions"])) == ("latents", None, 20, 2)
    assert main(command) == 0
    assert "% of it linear in the latents" in capsys.readouterr().out
    checkpoint = str(next((runs / "digits" / "checkpoints").iterdir()))
    for text in ("factors --count 1", "truncation --psi 0.5", "neighbours --count 1", "scores --count 70"):
        kind = text.split()
        assert main(["interpret", checkpoint, *kind, "--out", str(out)]) == 0, capsys.readouterr().err
    assert [path.name for path in out.parent.iterdir()] == ["a.png"]
    assert main(["interpret", "scores", "--help"]) == 0
    assert "gandist interpret runs/digits scores" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["directions", "--out", "a.jpg"], "is written as .png, .gif or .npz"),
        (["directions", "--out", "a.png", "--span", "-1"], "is above 0"),
        (["directions", "--out", "a.png", "--layers", "0..3"], "mlp-conv has no style per layer; leave --layers out"),
        (["directions", "--out", "a.png", "--label", "3"], "knows no labels"),
        (["factors", "--out", "a.png", "--count", "5000"], "more than the 4,096 of one file"),
        (["truncation", "--out", "a.png", "--psi", "x"], "write numbers with commas"),
        (["truncation", "--out", "a.png", "--psi", "2"], "above 0 and at most 1"),
        (["neighbours", "--out", "a.gif"], "is written as .png"),
        (["neighbours", "--out", "a.png", "--features", "dino"], "--features dino: unknown extractor"),
        (["scores", "--out", "."], "is written as .png"),
        (["scores", "--count", "70", "--out", "file/a.png"], "cannot be written"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    arguments: list[str], message: str, runs: Path, tmp_path: Path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    assert main(["interpret", str(runs / "digits"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_points_have_scores_and_no_sheets(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for kind in ("directions", "factors", "truncation", "neighbours"):
        assert main(["interpret", str(runs / "ring"), kind, "--out", str(tmp_path / "a.png")]) == 2
        assert "makes points; of gandist interpret only scores works on points" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
