"""The shipped architectures: shapes, ranges, refusals, and the function that plain torch modules compute."""

import copy
import importlib.util
import io
import sys
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from gandist import Architecture, Facts, Noise

CASES = [
    ({"name": "mlp-conv"}, (1, 28, 28)),
    ({"name": "mlp-conv", "batch_norm": False, "dropout": 0.0}, (3, 28, 28)),
    *(({"name": "dcgan", "width": 4, "norm": norm}, (1, 32, 32)) for norm in ("batch", "spectral", "layer", "none")),
    *(({"name": "dcgan", "width": 4}, (3, size, size)) for size in (16, 64, 128)),
    *(({"name": "sngan-resnet", "width": 4, "norm": norm}, (3, 32, 32)) for norm in ("spectral", "layer", "none")),
    *(({"name": "sngan-resnet", "width": 2}, (1, size, size)) for size in (64, 128)),
    ({"name": "mlp", "width": 16}, (2,)),
    ({"name": "mlp", "width": 16, "activation": "relu", "scale": 4.0, "depth": 1}, (3,)),
]
NAMES = [f"{fields['name']}-{fields.get('norm', '')}{shape}" for fields, shape in CASES]


def architecture(fields: dict) -> Architecture:
    return TypeAdapter(Architecture).validate_python(fields)


def facts(shape: tuple[int, ...]) -> Facts:
    return Facts(shape, 0, 10, "fingerprint")


def build(fields: dict, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    networks = architecture(fields).build(facts(shape))
    assert set(networks) == {"generator", "discriminator"}
    return networks["generator"], networks["discriminator"]


def noise(n: int, dtype: torch.dtype = torch.float32) -> Noise:
    return Noise(0, start=0, stop=n, total=n, device=torch.device("cpu"), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("fields", "shape"), CASES, ids=NAMES)
def test_shapes_ranges_and_gradients(fields, shape, dtype):
    assert architecture(fields).refuse(facts(shape)) is None
    generator, discriminator = (network.to(dtype) for network in build(fields, shape))
    latents = generator.draw(noise(4, dtype), 4)
    samples = generator(latents, None)
    assert samples.shape == (4, *shape)
    assert samples.dtype == dtype
    if len(shape) == 3:
        assert samples.abs().max() <= 1
    logits = discriminator(samples, None)
    assert logits.shape == (4,)
    assert logits.dtype == dtype
    logits.square().sum().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(("fields", "shape"), CASES, ids=NAMES)
def test_a_gradient_penalty_reaches_the_weights(fields, shape):
    _, discriminator = build(fields, shape)
    x = torch.randn(3, *shape, requires_grad=True)
    (slope,) = torch.autograd.grad(discriminator(x, None).sum(), x, create_graph=True)
    slope.square().sum().backward()
    reached = [p.grad for p in discriminator.parameters() if p.grad is not None]
    assert reached
    assert all(gradient.isfinite().all() for gradient in reached)


@pytest.mark.parametrize(("fields", "shape"), CASES, ids=NAMES)
def test_autocast_returns_float32(fields, shape):
    generator, discriminator = build(fields, shape)
    with torch.autocast("cpu", torch.bfloat16):
        samples = generator(generator.draw(noise(4), 4), None)
        logits = discriminator(samples, None)
    assert samples.dtype == logits.dtype == torch.float32
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())


@pytest.mark.parametrize("name", ["dcgan", "sngan-resnet"])
def test_width_scales_both_players(name):
    narrow = build({"name": name, "width": 4}, (3, 32, 32))
    wide = build({"name": name, "width": 8}, (3, 32, 32))
    for small, large in zip(narrow, wide, strict=True):
        count = [sum(p.numel() for p in network.parameters()) for network in (small, large)]
        assert count[1] > 1.8 * count[0]


def test_published_sizes():
    """Miyato et al. 2018, tables 3 and 5, and the classic 28×28 networks: weights of each convolution and matrix."""
    generator, discriminator = build({"name": "sngan-resnet", "width": 128, "norm": "none"}, (3, 32, 32))
    assert [m.out_channels for m in generator.modules() if isinstance(m, nn.Conv2d)] == [256] * 9 + [3]
    assert [m.out_channels for m in discriminator.modules() if isinstance(m, nn.Conv2d)] == [128] * 10
    generator, discriminator = build({"name": "mlp-conv"}, (1, 28, 28))
    assert [m.out_features for m in generator.modules() if isinstance(m, nn.Linear)] == [256, 512, 1024, 784]
    assert [tuple(p.shape) for p in discriminator.parameters() if p.dim() == 4] == [
        (64, 1, 5, 5),
        (128, 64, 5, 5),
        (1, 128, 7, 7),
    ]


def test_dcgan_begins_with_small_weights():
    for network in build({"name": "dcgan", "width": 16, "norm": "none"}, (3, 32, 32)):
        weights = torch.cat([p.flatten() for p in network.parameters() if p.dim() == 4])
        assert weights.std().item() == pytest.approx(0.02, rel=0.05)


def test_the_scale_of_points():
    generator, discriminator = build({"name": "mlp", "width": 16, "scale": 1.0}, (2,))
    larger, lenient = build({"name": "mlp", "width": 16, "scale": 4.0}, (2,))
    latents = generator.draw(noise(5), 5)
    torch.testing.assert_close(larger(latents), 4 * generator(latents))
    points = torch.randn(5, 2)
    torch.testing.assert_close(lenient(4 * points), discriminator(points))


@pytest.mark.parametrize(
    ("fields", "shape", "words"),
    [
        ({"name": "mlp-conv"}, (1, 32, 32), ["28×28", "32×32", "dataset.size: 28"]),
        ({"name": "mlp-conv"}, (2,), ["28×28", "points", "architecture.name: mlp"]),
        ({"name": "dcgan"}, (1, 28, 28), ["16, 32, 64 or 128", "28×28", "dataset.size: 32"]),
        ({"name": "dcgan"}, (3, 256, 256), ["256×256", "dataset.size: 128"]),
        ({"name": "dcgan"}, (3, 32, 64), ["square", "32×64", "dataset.size: 64"]),
        ({"name": "dcgan"}, (2,), ["points", "architecture.name: mlp"]),
        ({"name": "sngan-resnet"}, (1, 16, 16), ["32, 64 or 128", "16×16", "dataset.size: 32"]),
        ({"name": "mlp"}, (1, 28, 28), ["points", "28×28", "architecture.name: dcgan"]),
    ],
)
def test_refusals_name_the_size_and_the_fix(fields, shape, words):
    reason = architecture(fields).refuse(facts(shape))
    assert reason is not None
    assert "\n" not in reason
    for word in words:
        assert word in reason


@pytest.mark.parametrize("fields", [{"name": "dcgan", "width": 4}, {"name": "sngan-resnet", "width": 4}])
def test_moments_are_kept_in_the_layout_of_the_weights(fields):
    """A fused optimizer walks weights and moments side by side in memory: another layout would mix them up."""
    generator, _ = build(fields, (3, 32, 32))
    halfway = copy.deepcopy(generator)
    weights = []
    for again in (False, True):
        network = halfway if again else generator
        adam = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
        for step in range(4):
            if again and step == 2:
                file = io.BytesIO()
                torch.save(adam.state_dict(), file)
                file.seek(0)
                adam = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
                adam.load_state_dict(torch.load(file, weights_only=True))
            adam.zero_grad()
            network(torch.ones(2, network.latent) * torch.tensor([[1.0], [-1.0]])).square().sum().backward()
            adam.step()
        assert all(adam.state[p]["exp_avg"].stride() == p.stride() for p in network.parameters())
        weights.append([p.detach().clone() for p in network.parameters()])
    for straight, resumed in zip(*weights, strict=True):
        assert torch.equal(straight, resumed)


@pytest.fixture(scope="module")
def textbook():
    path = Path(__file__).parents[1] / "benchmarks" / "textbook.py"
    spec = importlib.util.spec_from_file_location("textbook", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["textbook"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["textbook"]


@pytest.mark.parametrize("workload", ["w1", "w2", "w3"])
def test_networks_compute_what_plain_modules_compute(textbook, workload):
    """The benchmark's plain networks with the same weights: samples, logits, and all gradients of a penalty."""
    case = textbook.WORKLOADS[workload]
    ours = build(case.architecture, case.shape)
    plain = textbook.networks(case)
    for mine, theirs in zip(ours, plain, strict=True):
        mine.double()
        theirs.double()
        for layer in (*mine.modules(), *theirs.modules()):
            if "Dropout" in type(layer).__name__:
                layer.eval()
        for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
            q.data.copy_(p.data.reshape(q.shape))
    latents = torch.randn(3, case.latent, dtype=torch.float64)
    fakes = [ours[0](latents, None), plain[0](latents)]
    torch.testing.assert_close(fakes[0], fakes[1], rtol=1e-9, atol=1e-11)
    gradients = []
    for discriminator, fake in zip((ours[1], plain[1]), fakes, strict=True):
        logits = discriminator(fake)
        (slope,) = torch.autograd.grad(logits.sum(), fake, create_graph=True)
        (logits.square().sum() + slope.square().sum()).backward()
        gradients.append(logits.detach())
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-11)
    for mine, theirs in zip(ours, plain, strict=True):
        for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(p.grad.reshape(q.shape), q.grad, rtol=1e-7, atol=1e-9)
