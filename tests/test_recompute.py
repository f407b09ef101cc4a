"""`train.checkpoint_activations` computes the same bits from less memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from gandist import ConfigError, Noise, Recomputable
from gandist.config.check import check
from gandist.config.compose import compose
from gandist.config.resolve import resolve
from gandist.contract.recompute import recomputable, recompute
from gandist.contract.turn import slopes
from gandist.training import checkpoint
from gandist.training.loop import train
from gandist.training.surroundings import Surroundings
from tests.ranks import train_on_ranks

pytestmark = pytest.mark.arithmetic

ROWS = 4
CASES: list[zoo.Case] = [
    ({"name": "biggan", **zoo.NARROW["biggan"], "attention": 16}, (3, 32, 32)),
    ({"name": "biggan", **zoo.NARROW["biggan"], "conditioning": "none", "hierarchical": False}, (1, 64, 64)),
    ({"name": "sngan-resnet", **zoo.NARROW["sngan-resnet"], "generator_norm": "spectral"}, (3, 32, 32)),
    ({"name": "sngan-resnet", **zoo.NARROW["sngan-resnet"], "norm": "layer"}, (1, 32, 32)),
    ({"name": "stylegan2", **zoo.NARROW["stylegan2"], "conditioning": "projection"}, (3, 32, 32)),
    ({"name": "stylegan2", **zoo.NARROW["stylegan2"], "residual": False, "group": 1}, (1, 16, 16)),
    ({"name": "r3gan", **zoo.NARROW["r3gan"], "conditioning": "projection"}, (3, 32, 32)),
]


def players(case: zoo.Case, again: bool) -> tuple[nn.Module, nn.Module]:
    generator, discriminator = zoo.build(*case)
    for player in (generator, discriminator):
        assert recomputable(player)
        if again:
            recompute(player)
    return generator.train(), discriminator.train()


def state(*networks: nn.Module) -> dict[str, Tensor]:
    """Gradients and buffers by name."""
    named = {}
    for number, network in enumerate(networks):
        named |= {f"{number}.{name}": buffer.clone() for name, buffer in network.named_buffers()}
        named |= {f"{number}.{name}.grad": p.grad for name, p in network.named_parameters() if p.grad is not None}
    return named


def require_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def played(case: zoo.Case, again: bool) -> dict[str, Tensor]:
    """Two turns of each player: the discriminator's with R1 on two forwards, the generator's through both."""
    generator, discriminator = players(case, again)
    torch.manual_seed(3)
    labels = torch.arange(ROWS) % zoo.CLASSES
    for step in range(2):
        noise = Noise(step, start=0, stop=ROWS, total=ROWS, device=torch.device("cpu"), dtype=torch.float32)
        with torch.no_grad():
            fake = generator(generator.draw(noise, ROWS), labels)  # type: ignore[operator]
        real = torch.randn(ROWS, *case[1], requires_grad=True)
        on_real, on_fake = discriminator(real, labels), discriminator(fake, labels)
        penalty = slopes(on_real, real).square().sum(1).mean()
        (on_fake.mean() - on_real.mean() + penalty).backward()
        made = generator(generator.draw(noise, ROWS), labels)  # type: ignore[operator]
        (-discriminator(made, labels).mean()).backward()
    return state(generator, discriminator)


@pytest.mark.parametrize("case", CASES, ids=zoo.label)
def test_gradients_and_buffers_are_the_same_bits(case: zoo.Case) -> None:
    require_equal(played(case, again=False), played(case, again=True))


class Moving(Recomputable):
    """Everything that a second forward pass could get wrong."""

    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))
        self.norm, self.drop = nn.BatchNorm1d(6), nn.Dropout(0.5)
        self.register_buffer("total", torch.zeros(()))
        self.forwards = 0

    def forward(self, input: Tensor) -> Tensor:
        self.forwards += 1
        self.total += 1
        return self.drop(self.norm(self.layer(input)) * self.total.clone()).tanh() + torch.randn(input.shape)


def moved(again: bool) -> tuple[dict[str, Tensor], int]:
    block = Moving().train()
    block.recomputes = again
    torch.manual_seed(1)
    input = torch.randn(5, 6, requires_grad=True)
    # Two forwards before the backward pass: the first one's buffers are not those of now.
    first, second = block(input), block(2 * input)
    slope = slopes((first * second).sum(1), input)
    slope.square().sum().backward()
    assert input.grad is not None
    return state(block) | {"input": input.grad, "random": torch.rand(3)}, block.forwards


def test_random_numbers_and_moving_buffers() -> None:
    plain, forwards = moved(again=False)
    again, more = moved(again=True)
    require_equal(plain, again)
    assert (forwards, more) == (2, 6), "two forwards, and each again in either of two backward passes"


def test_nothing_is_played_twice_without_a_gradient_or_in_copies() -> None:
    import copy

    block = Moving().train()
    block.recomputes = True
    twin = copy.deepcopy(block)
    with torch.no_grad():
        block(torch.randn(5, 6))
    assert (block.forwards, twin.forwards) == (1, 0)
    twin(torch.randn(5, 6)).sum().backward()
    assert (block.forwards, twin.forwards) == (1, 2)


class Kept:
    """Counts the bytes that autograd keeps for the backward pass, each storage once."""

    def __init__(self) -> None:
        self.storages: dict[int, tuple[int, Tensor]] = {}

    @property
    def megabytes(self) -> float:
        return sum(size for size, _ in self.storages.values()) / 2**20

    def keep(self, inputs: Any) -> None:
        for one in inputs:
            if isinstance(one, Tensor):
                self.pack(one)
            elif isinstance(one, list | tuple):
                self.keep(one)

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self.storages[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor


@contextmanager
def kept() -> Iterator[Kept]:
    counted = Kept()
    with saved_tensors_hooks(counted.pack, lambda tensor: tensor):
        yield counted


def keeps(case: zoo.Case, again: bool, play: Callable[[nn.Module, nn.Module], Any]) -> float:
    generator, discriminator = players(case, again)
    with kept() as counted:
        for module in (*generator.modules(), *discriminator.modules()):
            if isinstance(module, Recomputable) and module.recomputes:
                # Not saved for a derivative, but kept to begin from.
                module.register_forward_pre_hook(lambda _, inputs: counted.keep(inputs))
        play(generator, discriminator)
    return counted.megabytes


def through_both(generator: nn.Module, discriminator: nn.Module) -> Tensor:
    labels = torch.zeros(ROWS, dtype=torch.int64)
    return discriminator(generator(generator.draw(zoo.noise(ROWS), ROWS), labels), labels)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("case", "least"),
    [
        (({"name": "stylegan2", **zoo.NARROW["stylegan2"], "channel_max": 16, "channel_base": 512}, (3, 64, 64)), 2.0),
        (({"name": "biggan", "width": 8}, (3, 64, 64)), 2.0),
        (({"name": "r3gan", **zoo.NARROW["r3gan"]}, (3, 64, 64)), 2.0),
    ],
    ids=lambda value: value[0]["name"] if isinstance(value, tuple) else "",
)
def test_less_is_kept(case: zoo.Case, least: float) -> None:
    assert keeps(case, False, through_both) > least * keeps(case, True, through_both)


CONFIG: dict[str, Any] = {
    "run": {"name": "recompute"},
    "dataset": {"name": "digits", "size": 32},
    "architecture": {"name": "biggan", **zoo.NARROW["biggan"]},
    "loss": {"name": "hinge", "regularizers": [{"name": "r1", "weight": 1.0, "every": 2}]},
    "train": {"images": 48, "batch_size": 8, "log_every": 3, "save_every": 3},
}


def trained(folder: Path, *overrides: str) -> dict[str, Tensor]:
    config = resolve(compose(CONFIG, overrides))
    train(config, config.dataset.open(), Surroundings(folder))
    newest, _ = checkpoint.newest(folder / "checkpoints")
    assert newest is not None
    return checkpoint.load(newest)[0]


def test_a_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    plain = trained(tmp_path / "plain")
    require_equal(plain, trained(tmp_path / "again", "train.checkpoint_activations=true"))
    # A run that ran out of memory goes on with it.
    trained(tmp_path / "half", "train.images=24")
    require_equal(plain, trained(tmp_path / "half", "train.checkpoint_activations=true"))


@pytest.mark.slow
def test_two_ranks_with_synchronised_batch_norm_end_with_the_same_bits(tmp_path: Path) -> None:
    """The second forward pass exchanges sums anew, within the backward pass, beside the gradients."""
    specs, given = [], ["train.sync_batchnorm=true", "loss={name: wgan-gp, d_steps: 1}", "train.images=16"]
    for name, again in (("plain", "false"), ("again", "true")):
        config = resolve(compose(CONFIG, [*given, f"train.checkpoint_activations={again}"]))
        specs.append({"config": config.model_dump(mode="json"), "folder": str(tmp_path / name)})
    train_on_ranks(2, specs)
    plain, again = (load_file(tmp_path / name / "generator.safetensors") for name in ("plain", "again"))
    require_equal(plain, again)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["architecture={name: dcgan, width: 4}"], "dcgan has no blocks that could be recomputed"),
        (["train.compile=true"], "not possible with train.compile"),
    ],
)
def test_refused_where_it_is_not_possible(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check(resolve(compose(CONFIG, ["train.checkpoint_activations=true", *overrides])))
