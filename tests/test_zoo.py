"""Every architecture keeps the contract, has the published size, and computes on ranks what it computes on one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import zoo
from gandist_architectures.spectral import SpectralNorm
from gandist_losses.r1 import R1
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm

from gandist import Facts, Loss, Verdict
from gandist.contract.discovery import installed
from gandist.contract.turn import Turn
from gandist.testing import check_architecture
from gandist.testing.tiny import BaseLoss, RandomSamples
from gandist.testing.trial import Trial, difference, play, play_in_two_goes
from gandist.training.batchnorm import synchronise
from tests.turns import adversarial

pytestmark = pytest.mark.arithmetic

FACTS = {"classes": zoo.CLASSES, "size": 100, "fingerprint": "zoo"}


def cases(*which: zoo.Case) -> Any:
    return pytest.mark.parametrize(("fields", "shape"), which, ids=[zoo.label(case) for case in which])


@cases(*zoo.QUICK)
def test_the_contract(fields: dict[str, Any], shape: tuple[int, ...]):
    check_architecture(zoo.architecture(fields), Facts(shape, **FACTS))


@pytest.mark.slow
@cases(*zoo.SLOW)
def test_the_contract_at_every_size(fields: dict[str, Any], shape: tuple[int, ...]):
    check_architecture(zoo.architecture(fields), Facts(shape, **FACTS))


def test_all_shipped_image_architectures_are_here():
    ours = {
        c.name for c in installed().components(zoo.Architecture) if installed().provider(c).distribution == "gandist"
    }
    # Of the translators tests/test_contract.py has the weights, and plays their losses.
    translators = {"cyclegan", "cut", "pix2pix"}
    others = {"mlp", "semi-supervised-mlp", "semi-supervised-conv", "dcgan-encoder", "alad-mlp", "alad-conv"}
    assert ours == {*zoo.NARROW, *translators, *others}


PUBLISHED = [
    # Brock et al. 2019 at 128 pixels, as counted by a test of google/compare_gan (resnet_biggan_test.py).
    ({"name": "biggan", "attention": 64}, 128, 1000, 70_433_988, 87_982_370),
    # ajbrock/BigGAN-PyTorch, layers.py: "ch 64, all tricks", and the shared embedding of 1000 × 128.
    ({"name": "biggan", "attention": 64, "width": 64}, 128, 1000, 31_850_628 + 128_000, 39_448_258),
    # NVlabs/stylegan2-ada-pytorch prints both totals for 1024 pixels and two mapping layers; each more has 262,656.
    ({"name": "stylegan2", "mapping_layers": 2}, 1024, 0, 28_794_124, 29_012_513),
    ({"name": "stylegan2"}, 1024, 0, 28_794_124 + 6 * 262_656, 29_012_513),
    # The networks of brownvc/R3GAN with its presets CIFAR10, FFHQ-64, FFHQ-256, ImageNet-32 and ImageNet-64.
    ({"name": "r3gan", "conditioning": "projection"}, 32, 10, 20_781_952, 21_280_512),
    ({"name": "r3gan"}, 64, 0, 22_429_824, 22_381_440),
    ({"name": "r3gan"}, 256, 0, 23_057_952, 23_009_568),
    ({"name": "r3gan", "conditioning": "projection", "width": 1536, "group": 32}, 32, 1000, 82_914_304, 86_548_992),
    (
        {"name": "r3gan", "conditioning": "projection", "width": 1536, "group": 32, "wide_to": 64},
        64,
        1000,
        103_570_432,
        107_205_120,
    ),
    # Miyato et al. 2018, table 3, layer by layer. Generator: dense 128·4096 + 4096; three blocks of two convolutions
    # 256·256·9 + 256, a shortcut 256·256 + 256 and two batch norms 2·256; batch norm 512; 256·3·9 + 3.
    (
        {"name": "sngan-resnet", "width": 128},
        32,
        0,
        528_384 + 3 * (2 * 590_080 + 65_792 + 1_024) + 512 + 6_915,
        (3_584 + 147_584 + 512) + (2 * 147_584 + 16_512) + 2 * (2 * 147_584) + 129,
    ),
    # Radford et al. 2016, figure 1: kernels of 4×4 as in the authors' code, without biases where batch norm follows.
    (
        {"name": "dcgan", "width": 128},
        64,
        0,
        16 * (100 * 1024 + 1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 2 * (1024 + 512 + 256 + 128) + 3,
        16 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024 + 1024) + 128 + 2 * (256 + 512 + 1024) + 1,
    ),
]


@pytest.mark.parametrize(("fields", "size", "classes", "generator", "discriminator"), PUBLISHED)
def test_numbers_of_parameters_are_the_published_ones(
    monkeypatch: pytest.MonkeyPatch, fields, size, classes, generator, discriminator
):
    # On the meta device weights have shapes and no values; decomposing them would only take time.
    monkeypatch.setattr(nn.init, "orthogonal_", lambda weight: weight)
    monkeypatch.setattr(_SpectralNorm, "_power_method", lambda *_: None)
    with torch.device("meta"):
        networks = zoo.architecture(fields).build(Facts((3, size, size), classes, 10, "counted"))
    counted = [sum(p.numel() for p in networks[player].parameters()) for player in ("generator", "discriminator")]
    assert counted == [generator, discriminator]


class Heard(BaseLoss):
    """The logistic loss, and half the squared class logits where there are any, so that all weights are trained."""

    name = "heard"  # type: ignore[misc]

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        classes = [verdict.classes for verdict in (turn.on_real, turn.on_fake)]
        terms = super().discriminator(turn)
        extra = [0.5 * rows.square().sum(1).mean() for rows in classes if rows is not None]
        return {"total": terms["total"] + sum(extra, torch.zeros((), dtype=turn.dtype))}


def trial(fields: dict[str, Any], shape: tuple[int, ...], steps: int) -> Trial:
    quiet = {"noise": False} if fields["name"] == "stylegan2" else {}
    return Trial(
        Heard(),
        zoo.architecture({**fields, **quiet}),
        RandomSamples(shape=shape, classes=zoo.CLASSES),
        steps=steps,
        sync_batchnorm=True,
    )


RANKED = [
    next(case for case in zoo.QUICK if case[0]["name"] == name and case[0].get("conditioning") == "projection")
    for name in zoo.NARROW
]
"""One conditional variant of each."""


@cases(*RANKED)
def test_two_ranks_train_what_one_process_trains(fields: dict[str, Any], shape: tuple[int, ...]):
    one, two = (play(trial(fields, shape, steps=2), world) for world in (1, 2))
    gap, where = difference(one, two)
    assert gap < 1e-9, f"{where} differs by {gap:.1e}"


@cases(*RANKED)
def test_bf16_trains_through_a_gradient_penalty(fields: dict[str, Any], shape: tuple[int, ...]):
    penalised = Heard(regularizers=(R1(weight=0.1),))
    dataset = RandomSamples(shape=shape, classes=zoo.CLASSES)
    state = play(Trial(penalised, zoo.architecture(fields), dataset, steps=2, precision="bf16", dtype=torch.float32))
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_a_resumed_run_has_the_noise_and_the_mixing_of_an_undisturbed_one():
    fields = {"name": "stylegan2", **zoo.NARROW["stylegan2"], "mixing": 0.5}
    run = Trial(BaseLoss(), zoo.architecture(fields), RandomSamples(shape=(1, 16, 16)), steps=4)
    straight, resumed = play(run), play_in_two_goes(run)
    assert all(torch.equal(straight[name], tensor) for name, tensor in resumed.items())
    assert straight["generator.average"].abs().max() > 0
    assert torch.equal(straight["smoothed.average"], straight["generator.average"])


@pytest.mark.slow
@cases(*RANKED)
@pytest.mark.parametrize("loss", adversarial(), ids=lambda loss: loss.name)
def test_every_loss_plays_every_architecture(loss: type[Loss], fields: dict[str, Any], shape: tuple[int, ...]):
    dataset = RandomSamples(shape=shape, classes=zoo.CLASSES)
    state = play(Trial(loss(), zoo.architecture(fields), dataset, steps=2))
    assert all(tensor.isfinite().all() for tensor in state.values())


@pytest.mark.slow
@cases(*[case for case in zoo.QUICK if case not in RANKED])
def test_two_ranks_train_what_one_process_trains_with_every_option(fields: dict[str, Any], shape: tuple[int, ...]):
    # One step: at this learning rate a second one of networks without norm can blow rounding up.
    one, two = (play(trial(fields, shape, steps=1), world) for world in (1, 2))
    gap, where = difference(one, two)
    assert gap < 1e-9, f"{where} differs by {gap:.1e}"


def test_two_ranks_are_two_micro_batches_with_noise_and_mixing():
    """Noise is seeded by the part of the batch, and mixing drawn per row; only the average style moves by forward."""
    fields = {"name": "stylegan2", **zoo.NARROW["stylegan2"]}
    made = [
        play(Trial(BaseLoss(), zoo.architecture(fields), RandomSamples(shape=(1, 16, 16)), steps=2, **how), world)
        for how, world in (({"micro_batch": 4}, 1), ({}, 2), ({}, 1))
    ]
    for state in made:
        for name in [name for name in state if name.endswith("average")]:
            del state[name]
    parts, ranks, whole = made
    gap, where = difference(parts, ranks)
    assert gap < 1e-9, f"{where} differs by {gap:.1e}"
    assert difference(whole, ranks)[0] > 1e-6, "one picture of noise for the whole batch is another one"


@cases(*zoo.QUICK)
def test_batch_norm_of_a_condition_is_synchronised_too(fields: dict[str, Any], shape: tuple[int, ...]):
    generator, _ = zoo.build(fields, shape)
    before = [type(module).__name__ for module in generator.modules()]
    after = [type(module).__name__ for module in synchronise(generator).modules()]
    assert not any(name.startswith("BatchNorm") for name in after)
    assert after.count("SyncBatchNorm") == sum(name.startswith("BatchNorm") for name in before)


def counted_iterations(network: nn.Module, call: Any) -> list[float]:
    """How far each vector of each spectral norm moved in a call."""
    vectors = [buffer for name, buffer in network.named_buffers() if name.endswith("._u")]
    assert vectors
    before = [vector.clone() for vector in vectors]
    call()
    return [(vector - old).abs().max().item() for vector, old in zip(vectors, before, strict=True)]


SPECTRAL = [
    ({"name": "mlp-conv", **zoo.NARROW["mlp-conv"], "norm": "spectral", "conditioning": "projection"}, (1, 28, 28)),
    ({"name": "dcgan", **zoo.NARROW["dcgan"], "norm": "spectral", "conditioning": "auxiliary-classifier"}, (1, 16, 16)),
    ({"name": "sngan-resnet", **zoo.NARROW["sngan-resnet"], "attention": 8, "conditioning": "projection"}, (3, 32, 32)),
    ({"name": "biggan", **zoo.NARROW["biggan"], "attention": 8}, (3, 32, 32)),
]


@cases(*SPECTRAL)
def test_spectral_norm_iterates_once_a_training_forward(fields: dict[str, Any], shape: tuple[int, ...]):
    _, network = zoo.build(fields, shape)
    images, labels = torch.randn(3, *shape), torch.arange(3)
    steps = []
    for module in network.modules():
        if isinstance(module, SpectralNorm):
            calls = list[int]()
            steps.append(calls)

            def power(matrix: Tensor, n: int, calls=calls, method=module._power_method) -> None:
                calls.append(n)
                method(matrix, n)

            module._power_method = power  # type: ignore[method-assign]
    network(images, labels)
    assert steps
    assert all(calls == [1] for calls in steps)
    network.eval()
    assert max(counted_iterations(network, lambda: network(images, labels))) == 0
    assert all(calls == [1] for calls in steps)


@cases(*{fields["name"]: (fields, shape) for fields, shape in zoo.QUICK}.values())
def test_networks_compile_in_one_piece(fields: dict[str, Any], shape: tuple[int, ...]):
    """A break in the graph is a call into Python in each step. Nothing is compiled here, only traced."""
    torch.compiler.reset()
    generator, discriminator = zoo.build(fields, shape)
    latents, labels = generator.draw(zoo.noise(4), 4), torch.arange(4) % 3
    images = torch.randn(4, *shape)
    for network, batch in ((generator, latents), (discriminator, images)):
        torch.compile(network, backend="eager", fullgraph=True)(batch, labels)


@cases(*zoo.QUICK)
def test_labels_change_samples_and_verdicts_of_conditional_players_only(fields: dict[str, Any], shape: tuple[int, ...]):
    generator, discriminator = zoo.build(fields, shape)
    conditioning = fields.get("conditioning", zoo.architecture(fields).conditioning)
    for network in (generator, discriminator):
        network.eval()
        for name, parameter in network.named_parameters():
            # What is told of labels begins at zero in batch norm.
            if name.endswith(("gain.weight", "bias.weight")):
                nn.init.normal_(parameter)
    latents, first, second = generator.draw(zoo.noise(4), 4), torch.zeros(4).long(), torch.ones(4).long()
    with torch.no_grad():
        samples = [generator(latents, labels) for labels in (first, second, first)]
        images = torch.rand(4, *shape) * 2 - 1
        verdicts = [discriminator(images, labels) for labels in (first, second)]
    assert torch.equal(samples[0], samples[2])
    assert torch.equal(samples[0], samples[1]) == (conditioning == "none")
    logits = [verdict.logits if isinstance(verdict, Verdict) else verdict for verdict in verdicts]
    assert torch.equal(*logits) == (conditioning != "projection")
    classes = [verdict.classes for verdict in verdicts if isinstance(verdict, Verdict)]
    assert [rows.shape for rows in classes if rows is not None] == (
        [(4, zoo.CLASSES)] * 2 if conditioning == "auxiliary-classifier" else []
    )


@pytest.mark.parametrize(
    ("fields", "shape", "classes", "words"),
    [
        ({"name": "dcgan", "conditioning": "projection"}, (1, 32, 32), 0, ["no labels", "set conditioning: none"]),
        ({"name": "biggan"}, (3, 32, 32), 0, ["projection", "no labels", "set conditioning: none"]),
        ({"name": "stylegan2", "conditioning": "projection"}, (3, 32, 32), 1, ["one class only"]),
        ({"name": "r3gan", "pack": 2, "conditioning": "projection"}, (3, 32, 32), 3, ["pack: 2", "set pack: 1"]),
        ({"name": "sngan-resnet", "attention": 32}, (3, 32, 32), 0, ["feature maps of 8, 16", "attention"]),
        ({"name": "biggan", "attention": 12}, (3, 64, 64), 9, ["feature maps of 8, 16, 32"]),
        ({"name": "biggan", "latent": 100}, (3, 128, 128), 9, ["6 parts", "set latent: 102"]),
        ({"name": "r3gan", "width": 100}, (3, 64, 64), 0, ["50 channels at 64 pixels", "a multiple of 16"]),
        ({"name": "r3gan", "width": 8}, (3, 1024, 1024), 0, ["0 channels at 1024 pixels", "a multiple of 256"]),
        ({"name": "stylegan2"}, (3, 100, 100), 0, ["100×100", "dataset.size: 128"]),
        (
            {"name": "mlp-conv", "batch_norm": False, "conditioning": "projection"},
            (1, 28, 28),
            3,
            ["batch_norm: false", "set generator_labels: latent"],
        ),
    ],
)
def test_refusals_name_the_fix(fields, shape, classes, words):
    reason = zoo.architecture(fields).refuse(Facts(shape, classes, 10, "refused"))
    assert reason is not None
    assert "\n" not in reason
    for word in words:
        assert word in reason
