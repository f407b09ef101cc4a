"""The fast layers against torch's plain ones: values, gradients and second gradients in float64."""

import copy
import math

import gandist_architectures.convolutions as faster
import gandist_architectures.layers as fast
import pytest
import torch
from gandist_architectures.spectral import spectral
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

pytestmark = pytest.mark.filterwarnings("error::UserWarning")


def derivatives(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Output, gradients of a weighted sum, and gradients of those gradients' squares: what a penalty needs."""
    x = x.clone().requires_grad_()
    y = module(x)
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    wanted = [x, *module.parameters()]
    first = torch.autograd.grad((weight * y + 0.1 * y.square()).sum(), wanted, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), wanted, allow_unused=True)
    return [y, *first, *(torch.zeros(()) if g is None else g for g in second)]


def require_same(ours: nn.Module, plain: nn.Module, *shape: int) -> None:
    torch.manual_seed(0)
    ours, plain = ours.double(), plain.double()
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        assert mine.shape == theirs.shape
        mine.data.copy_(theirs.data)
    x = torch.randn(*shape, dtype=torch.float64)
    layouts = (torch.contiguous_format, torch.channels_last) if len(shape) == 4 else (torch.contiguous_format,)
    for layout in layouts:
        pairs = zip(derivatives(ours, x.contiguous(memory_format=layout)), derivatives(plain, x), strict=True)
        for mine, theirs in pairs:
            torch.testing.assert_close(mine, theirs.expand_as(mine), rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        torch.testing.assert_close(ours(x.clone()), plain(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    ("activation", "plain"), [(fast.LeakyReLU, nn.LeakyReLU(0.2)), (fast.ReLU, nn.ReLU())], ids=["leaky", "relu"]
)
def test_activations(activation, plain, inplace):
    ours = nn.Sequential(nn.Conv2d(3, 4, 3), activation(inplace=inplace), nn.Conv2d(4, 2, 3))
    require_same(ours, nn.Sequential(nn.Conv2d(3, 4, 3), plain, nn.Conv2d(4, 2, 3)), 2, 3, 6, 6)


def test_an_activation_overwrites_its_input_only_when_told():
    x = torch.tensor([-1.0, 2.0])
    fast.LeakyReLU(0.2)(x)
    assert x.tolist() == [-1.0, 2.0]
    fast.LeakyReLU(0.2, inplace=True)(x)
    assert x.tolist() == pytest.approx([-0.2, 2.0])


def test_the_second_gradient_of_an_activation_does_not_reach_its_input():
    x = torch.randn(5, requires_grad=True)
    upstream = torch.randn(5, requires_grad=True)
    (first,) = torch.autograd.grad(fast.ReLU()(x), x, upstream, create_graph=True)
    on_x, on_upstream = torch.autograd.grad(first.sum(), [x, upstream], allow_unused=True)
    assert on_x is None
    assert torch.equal(on_upstream, (x > 0).float())


def test_average_pooling():
    ours = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), fast.AvgPool2d())
    require_same(ours, nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AvgPool2d(2)), 2, 3, 6, 4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "stride", "padding", "side"), [(5, 2, 2, 9), (4, 2, 1, 8), (3, 1, 1, 6)])
def test_convolution_from_images(channels, size, stride, padding, side):
    ours = faster.FromImages(channels, 6, size, stride, padding)
    require_same(ours, nn.Conv2d(channels, 6, size, stride, padding), 2, channels, side, side)


@pytest.mark.parametrize("channels", [1, 3])
def test_transposed_convolution_to_images(channels):
    ours = faster.ToImages(6, channels, 4, stride=2, padding=1)
    require_same(ours, nn.ConvTranspose2d(6, channels, 4, stride=2, padding=1), 2, 6, 5, 4)


@pytest.mark.parametrize("bias", [False, True])
def test_projection_of_latents(bias):
    require_same(faster.Project(5, 3, 4, bias=bias), nn.ConvTranspose2d(5, 3, 4, bias=bias), 2, 5, 1, 1)


def test_collapse_to_one_pixel():
    require_same(faster.Collapse(3, 2, 4), nn.Conv2d(3, 2, 4), 2, 3, 4, 4)


def test_convolution_and_pooling_in_one():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AvgPool2d(2))
    require_same(faster.PooledConv2d(3, 4), plain, 2, 3, 8, 6)


def test_upsampling_and_convolution_in_one():
    plain = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 4, 3, padding=1))
    require_same(faster.UpsampledConv2d(3, 4), plain, 2, 3, 4, 5)


def test_channels_last_gives_grey_images_the_strides_that_convolutions_look_at():
    for channels in (1, 3):
        images = torch.randn(2, channels, 4, 6)
        turned = fast.channels_last(images)
        assert torch.equal(turned, images)
        assert turned.stride() == (channels * 24, 1, channels * 6, channels)


def test_layer_norm_is_over_all_but_the_batch():
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64) * 3 + 1
    y = fast.layer_norm(4).double()(x)
    torch.testing.assert_close(y, nn.functional.layer_norm(x, x.shape[1:]))


def test_spectral_divides_by_the_largest_singular_value():
    torch.manual_seed(0)
    layer = spectral(nn.Conv2d(3, 8, 3), "spectral")
    for _ in range(50):
        layer(torch.randn(1, 3, 4, 4))
    assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1.0, abs=1e-4)
    plain = nn.Conv2d(3, 8, 3)
    assert spectral(plain, "none") is plain
    assert not hasattr(plain, "parametrizations")


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 8, 3), nn.Linear(5, 4), nn.Embedding(6, 3)], ids=str)
def test_spectral_is_torchs_to_the_bit(layer: nn.Module):
    mine, theirs = copy.deepcopy(layer), copy.deepcopy(layer)
    for module, normalise in ((mine, lambda one: spectral(one, "spectral")), (theirs, spectral_norm)):
        torch.manual_seed(0)
        normalise(module)
        for _ in range(3):
            module.weight.square().sum().backward()
    assert mine.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(mine.state_dict()[name], tensor) for name, tensor in theirs.state_dict().items())
    ours, torchs = (module.get_parameter("parametrizations.weight.original").grad for module in (mine, theirs))
    assert ours is not None
    assert torchs is not None
    assert torch.equal(ours, torchs)


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dropout_rate_and_scale(p, dtype):
    torch.manual_seed(1)
    x = torch.ones(100_003, dtype=dtype)
    y = fast.Dropout(p)(x)
    kept = round((1 - p) * 65536) / 65536
    assert abs(kept - (1 - p)) <= 2**-17
    count = int((y != 0).sum())
    assert abs(count - kept * len(x)) < 5 * math.sqrt(len(x) * kept * (1 - kept))
    assert set(y.unique().tolist()) == {0.0, torch.tensor(1 / kept, dtype=dtype).item()}


def test_dropout_masks_are_independent_between_neighbours():
    torch.manual_seed(2)
    kept = (fast.Dropout(0.5)(torch.ones(200_000)) != 0).float() - 0.5
    for lag in (1, 2, 3, 4, 8):
        assert abs((kept[lag:] * kept[:-lag]).mean().item()) < 5 * 0.25 / math.sqrt(len(kept) - lag)


def test_dropout_follows_the_seed_and_passes_gradients_through_its_mask():
    layer, x = fast.Dropout(0.3), torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    torch.manual_seed(3)
    first = layer(x)
    assert not torch.equal(layer(x), first)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    assert first.stride() == x.stride()
    (gradient,) = torch.autograd.grad(first.sum(), x)
    assert torch.equal(gradient * x, first)


def test_dropout_does_nothing_in_eval_mode_or_at_rate_zero():
    x = torch.randn(7)
    assert fast.Dropout(0.5).eval()(x) is x
    assert fast.Dropout(0.0)(x) is x


def test_under_autocast_the_layers_run_in_bfloat16():
    image, features = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(2, 6, 4, 4, requires_grad=True)
    for layer, x in (
        (faster.FromImages(3, 6, 4, 2, 1), image),
        (faster.ToImages(6, 3, 4, 2, 1), features),
        (faster.PooledConv2d(6, 6), features),
        (faster.UpsampledConv2d(6, 6), features),
        (faster.Collapse(6, 1, 4), features),
        (nn.Sequential(nn.Conv2d(6, 6, 3), fast.LeakyReLU(inplace=True), fast.Dropout(0.3)), features),
    ):
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        y.float().square().sum().backward()
        assert y.dtype == torch.bfloat16
        assert x.grad is not None
        assert x.grad.isfinite().all()


def test_pointwise_and_grouped_convolutions():
    require_same(faster.Pointwise(6, 4), nn.Conv2d(6, 4, 1), 2, 6, 5, 4)
    require_same(faster.Pointwise(6, 4, bias=False), nn.Conv2d(6, 4, 1, bias=False), 2, 6, 5, 4)
    for bias in (False, True):
        plain = nn.Conv2d(6, 6, 3, padding=1, groups=3, bias=bias)
        require_same(faster.GroupedConv2d(6, 3, groups=3, bias=bias), plain, 2, 6, 5, 4)
