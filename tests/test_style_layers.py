"""StyleGAN2's layers and R3GAN's resampling against explicit formulas, in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
import zoo
from gandist_architectures.attention import SelfAttention
from gandist_architectures.conditioning import ConditionalBatchNorm, Projection, batch_norm_by_class
from gandist_architectures.packing import Packed
from gandist_architectures.resampling import Blur, Downsample, Upsample
from gandist_architectures.style_layers import (
    Mapping,
    MinibatchDeviation,
    ModulatedConv2d,
    PixelNoise,
    ScaledConv2d,
    ScaledLinear,
    StyledConv2d,
)
from torch import Tensor, nn

pytestmark = pytest.mark.filterwarnings("error::UserWarning")
DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def randomised(module: nn.Module) -> nn.Module:
    """In float64, every parameter drawn anew: zeros and ones would hide mistakes."""
    module = module.double()
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


def filtered(image: Tensor, gain: float) -> Tensor:
    """An image (H, W), zeros around it, filtered by a double loop: value at (i, j) weighs i - 1 to i + 2."""
    taps, (height, width) = [1, 3, 3, 1], image.shape
    out = torch.zeros_like(image)
    for i in range(height):
        for j in range(width):
            for a in range(4):
                for b in range(4):
                    y, x = i + a - 1, j + b - 1
                    if 0 <= y < height and 0 <= x < width:
                        out[i, j] += gain * taps[a] * taps[b] / 64 * image[y, x]
    return out


def test_resampling_is_a_filter_between_zeros():
    image = torch.randn(1, 1, 6, 4, dtype=DOUBLE)
    torch.testing.assert_close(Downsample().double()(image)[0, 0], filtered(image[0, 0], 1.0)[::2, ::2])
    between = torch.zeros(12, 8, dtype=DOUBLE)
    between[1::2, 1::2] = image[0, 0]
    torch.testing.assert_close(Upsample().double()(image)[0, 0], filtered(between, 4.0))
    wide = F.pad(image, (1, 0, 1, 0))
    torch.testing.assert_close(Blur(1).double()(image)[0, 0], filtered(wide[0, 0], 1.0)[1:-1, 1:-1])


def test_resampling_keeps_the_mean_and_can_be_differentiated_twice():
    flat = torch.ones(1, 2, 8, 8, dtype=DOUBLE)
    for layer in (Upsample(), Downsample()):
        layer.double()
        out = layer(flat)
        inner = out[..., 2:-2, 2:-2] if out.shape[-1] > 4 else out[..., 1:-1, 1:-1]
        torch.testing.assert_close(inner, torch.ones_like(inner))
        x = torch.randn(1, 2, 4, 4, dtype=DOUBLE, requires_grad=True)
        assert torch.autograd.gradcheck(layer, x)
        assert torch.autograd.gradgradcheck(lambda x, layer=layer: layer(x).square(), x)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_modulation_scales_the_kernel_of_each_sample(up: bool, demodulate: bool):
    """Equations 1 and 3 of Karras et al. 2020: w' = s·w, w'' = w' / sqrt(Σ w'² + ε)."""
    layer = randomised(ModulatedConv2d(3, 5, 3, 4, up, demodulate))
    maps, style = torch.randn(2, 3, 4, 4, dtype=DOUBLE), torch.randn(2, 4, dtype=DOUBLE)
    out, factors = layer(maps, style)
    out = out if factors is None else out * factors
    for row in range(2):
        scales = layer.affine.weight @ style[row] / math.sqrt(4) + layer.affine.bias
        kernel = layer.weight * scales[:, None, None]
        kernel = kernel * (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).rsqrt() if demodulate else (
            kernel / math.sqrt(27)
        )  # fmt: skip
        if up:
            spread = F.conv_transpose2d(maps[row : row + 1], kernel.transpose(0, 1), stride=2)
            expected = Blur(1, gain=4.0).double()(spread)
        else:
            expected = F.conv2d(maps[row : row + 1], kernel, padding=1)
        torch.testing.assert_close(out[row : row + 1], expected)


def test_scaled_layers_begin_with_unit_variance_and_carry_the_gain_of_their_activation():
    dense, convolution = ScaledLinear(64, 256, speed=0.01, active=True), ScaledConv2d(64, 128, 3, gain=0.5)
    assert dense.weight.std().item() == pytest.approx(100, rel=0.05)
    assert convolution.weight.std().item() == pytest.approx(1, rel=0.05)
    dense, convolution = randomised(dense), randomised(convolution)
    rows, maps = torch.randn(3, 64, dtype=DOUBLE), torch.randn(3, 64, 5, 5, dtype=DOUBLE)
    expected = F.leaky_relu(rows @ dense.weight.t() * 0.01 / 8 + 0.01 * dense.bias, 0.2) * math.sqrt(2)
    torch.testing.assert_close(dense(rows), expected)
    hidden = F.conv2d(maps, convolution.weight / math.sqrt(576), convolution.bias, padding=1)
    torch.testing.assert_close(convolution(maps), 0.5 * math.sqrt(2) * F.leaky_relu(hidden, 0.2))


def test_noise_is_drawn_in_training_and_constant_afterwards():
    layer, maps = PixelNoise(4), torch.zeros(3, 2, 4, 4)
    assert not layer(maps).any()
    nn.init.constant_(layer.strength, 0.5)
    torch.manual_seed(1)
    first = layer(maps)
    assert first.shape == (3, 1, 4, 4)
    assert not torch.equal(first, layer(maps))
    torch.manual_seed(1)
    assert torch.equal(first, layer(maps))
    layer.eval()
    assert torch.equal(layer(maps), layer(maps))
    torch.testing.assert_close(layer(maps), 0.5 * layer.constant)


def test_a_styled_convolution_adds_noise_and_bias_before_its_activation():
    layer = randomised(StyledConv2d(3, 5, 4, 6, noise=True)).eval()
    maps, style = torch.randn(2, 3, 6, 6, dtype=DOUBLE), torch.randn(2, 4, dtype=DOUBLE)
    hidden, factors = layer.convolution(maps, style)
    hidden = hidden * factors + layer.noise.strength * layer.noise.constant + layer.bias[:, None, None]
    torch.testing.assert_close(layer(maps, style), math.sqrt(2) * F.leaky_relu(hidden, 0.2))


def test_mapping_takes_directions_only():
    mapping = Mapping(4, 3, 8, 2).double()
    latents, labels = torch.randn(5, 4, dtype=DOUBLE), torch.tensor([0, 1, 2, 0, 1])
    styles = mapping(latents, labels)
    torch.testing.assert_close(mapping(3 * latents, labels), styles, rtol=1e-6, atol=1e-6)
    assert (mapping(latents, labels.roll(1)) - styles).abs().max() > 0.01


def test_the_deviation_is_that_of_neighbours():
    maps = torch.randn(6, 3, 4, 4, dtype=DOUBLE)
    out = MinibatchDeviation(3)(maps)
    assert torch.equal(out[:, :3], maps)
    for begin in (0, 3):
        expected = maps[begin : begin + 3].std(0, correction=0).mean()
        torch.testing.assert_close(out[begin : begin + 3, 3], expected.expand(3, 4, 4), rtol=1e-6, atol=1e-6)
    assert MinibatchDeviation(4)(maps[:2]).shape == (2, 4, 4, 4), "fewer rows than a group are one group"


def test_conditional_batch_norm_is_batch_norm_with_the_gains_of_the_class():
    norm = batch_norm_by_class(3)(4)
    assert isinstance(norm, ConditionalBatchNorm)
    maps, labels = torch.randn(6, 4, 2, 2, dtype=DOUBLE) * 3 + 1, torch.tensor([0, 1, 2, 2, 1, 0])
    plain = nn.BatchNorm2d(4, affine=False).double()
    torch.testing.assert_close(norm.double()(maps, labels), plain(maps))
    norm = randomised(norm)
    gain, bias = 1 + norm.gain.weight[labels], norm.bias.weight[labels]
    torch.testing.assert_close(norm(maps, labels), plain(maps) * gain[..., None, None] + bias[..., None, None])


def test_projection_is_an_inner_product_with_the_class():
    head = Projection(3, 5, "none", nn.init.normal_).double()
    logits, features, labels = torch.randn(4).double(), torch.randn(4, 5).double(), torch.tensor([2, 0, 1, 2])
    expected = torch.stack([x + w @ f for x, w, f in zip(logits, head.embedding.weight[labels], features, strict=True)])
    torch.testing.assert_close(head(logits, features, labels), expected)


def test_attention_is_a_mean_of_values_weighted_by_products():
    layer = randomised(SelfAttention(8, lambda convolution: convolution))
    maps = torch.randn(2, 8, 4, 4, dtype=DOUBLE)
    out = layer(maps)
    for row in range(2):
        query, key, value = (
            torch.einsum("oc,chw->ohw", part.weight[:, :, 0, 0], maps[row])
            for part in (layer.query, layer.key, layer.value)
        )
        key, value = (F.max_pool2d(part[None], 2)[0].flatten(1) for part in (key, value))
        for y in range(4):
            for x in range(4):
                weights = torch.softmax(query[:, y, x] @ key, 0)
                seen = layer.out.weight[:, :, 0, 0] @ (value @ weights)
                torch.testing.assert_close(out[row, :, y, x], maps[row, :, y, x] + layer.share * seen)
    nn.init.zeros_(layer.share)
    assert torch.equal(layer(maps), maps)


def test_packs_are_neighbours_and_share_a_logit():
    inner = nn.Sequential(nn.Flatten(), nn.Linear(2 * 3 * 4, 1, dtype=DOUBLE))

    class Critic(nn.Module):
        def forward(self, samples: Tensor, labels: None) -> Tensor:
            return inner(samples).squeeze(1)

    images = torch.randn(6, 3, 2, 2, dtype=DOUBLE, requires_grad=True)
    packed = Packed(Critic(), 2)
    assert packed.divisor == 2
    logits = packed(images)
    for first in (0, 2, 4):
        expected = inner(torch.cat([images[first], images[first + 1]])[None])[0, 0]
        torch.testing.assert_close(logits[first : first + 2], expected.expand(2))
    (slope,) = torch.autograd.grad(logits.sum(), images)
    torch.testing.assert_close(slope[:2].flatten(), 2 * inner[1].weight[0], msg="pack times the slope of the pack")


def style_generator(**fields) -> nn.Module:
    given = {"name": "stylegan2", **zoo.NARROW["stylegan2"], "channel_max": 4, **fields}
    return zoo.build(given, (3, 32, 32))[0]


def test_mixing_is_drawn_by_row_and_in_training_only():
    generator = style_generator(mixing=0.5)
    assert generator.layers == 8
    assert isinstance(generator.eval().draw(zoo.noise(4), 4), Tensor)
    latents = generator.train().draw(zoo.noise(4000), 4000)
    begins = latents["from"].bincount(minlength=9)
    assert begins[0] == 0
    assert begins[8].item() == pytest.approx(2000, abs=150)
    assert all(count.item() == pytest.approx(2000 / 7, abs=80) for count in begins[1:8])
    own = generator.draw(zoo.noise(4000, 1000, 3000), 2000)
    assert all(torch.equal(rows, latents[name][1000:3000]) for name, rows in own.items())
    assert not torch.equal(latents["first"], latents["second"])
    assert isinstance(style_generator(mixing=0.0).draw(zoo.noise(4), 4), Tensor)


def test_mixed_styles_are_of_the_first_latent_up_to_a_layer_and_of_the_second_from_there():
    generator = style_generator()
    latents = {**generator.draw(zoo.noise(3), 3), "from": torch.tensor([1, 5, 8])}
    styles = generator.map(latents)
    first, second = (generator.mapping(latents[name], None) for name in ("first", "second"))
    for row, begin in enumerate((1, 5, 8)):
        assert torch.equal(styles[row, :begin], first[row].expand(begin, -1))
        assert torch.equal(styles[row, begin:], second[row].expand(8 - begin, -1))
    assert torch.equal(generator.eval()(latents), generator.synthesize(styles))


def test_the_average_style_follows_in_training_and_truncation_goes_towards_it():
    generator = style_generator()
    latents = generator.draw(zoo.noise(5), 5)
    styles = generator.mapping(latents["first"], None)
    generator.map(latents)
    torch.testing.assert_close(generator.average, 0.005 * styles.mean(0).detach())
    generator.eval().average.copy_(torch.randn(12))
    before = generator.average.clone()
    plain = latents["first"]
    expected = generator.synthesize(generator.average + 0.7 * (generator.map(plain) - generator.average))
    torch.testing.assert_close(generator.truncated(plain, None, 0.7), expected)
    torch.testing.assert_close(generator.truncated(plain, None, 1.0), generator(plain))
    assert torch.equal(generator.average, before)


def test_the_slope_of_images_by_styles_can_be_penalised():
    """What path length regularization differentiates: images by styles, and that by the weights."""
    generator = style_generator(noise=False).double()
    styles = generator.map(generator.draw(zoo.noise(4, dtype=DOUBLE), 4))
    images = generator.synthesize(styles)
    (slope,) = torch.autograd.grad((images * torch.randn_like(images)).sum(), styles, create_graph=True)
    slope.square().sum(2).mean(1).sqrt().mean().backward()
    assert slope.shape == (4, 8, 12)
    reached = {name for name, p in generator.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert {"constant", "mapping.layers.0.weight", "blocks.3.up.convolution.weight"} <= reached
