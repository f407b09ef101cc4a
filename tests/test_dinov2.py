"""DINOv2's transformers: their function, and weights as they are published."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import torch
from gandist_metrics import dinov2
from gandist_metrics.dinov2 import DinoV2
from gandist_metrics.dinov2_network import Block, VisionTransformer
from stripes import Stripes
from torch import Tensor

from gandist import ConfigError
from gandist.training import objects

pytestmark = pytest.mark.arithmetic

CPU = torch.device("cpu")


def published(width: int, depth: int = 12) -> dict[str, Tensor]:
    """Random weights by the names and shapes of the published files."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1370, width),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for number in range(depth):
        linear = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
        for name, (rows, columns) in linear.items():
            shapes[f"blocks.{number}.{name}.weight"] = (rows * width, columns * width)
            shapes[f"blocks.{number}.{name}.bias"] = (rows * width,)
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"blocks.{number}.{name}"] = (width,)
    generator = torch.Generator().manual_seed(0)
    return {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return published(384)


def normalised(rows: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * gain + bias


def block_by_hand(tokens: np.ndarray, given: dict[str, np.ndarray]) -> np.ndarray:
    """One image's tokens (T, D), head by head."""
    width = tokens.shape[1]
    seen = normalised(tokens, given["norm1.weight"], given["norm1.bias"])
    everything = seen @ given["attn.qkv.weight"].T + given["attn.qkv.bias"]
    queries, keys, values = (everything[:, part * width : (part + 1) * width] for part in range(3))
    heads = []
    for first in range(0, width, 64):
        head = slice(first, first + 64)
        shares = scipy.special.softmax(queries[:, head] @ keys[:, head].T / 8, axis=1)
        heads.append(shares @ values[:, head])
    mixed = np.concatenate(heads, 1) @ given["attn.proj.weight"].T + given["attn.proj.bias"]
    tokens = tokens + mixed * given["ls1.gamma"]
    hidden = normalised(tokens, given["norm2.weight"], given["norm2.bias"]) @ given["mlp.fc1.weight"].T
    hidden = hidden + given["mlp.fc1.bias"]
    hidden = hidden * (1 + scipy.special.erf(hidden / np.sqrt(2))) / 2
    return tokens + (hidden @ given["mlp.fc2.weight"].T + given["mlp.fc2.bias"]) * given["ls2.gamma"]


def test_a_block_is_the_published_formula():
    state = {
        name.removeprefix("blocks.0."): 10 * value for name, value in published(128, 1).items() if "blocks" in name
    }
    block = Block(128).double()
    block.load_state_dict(state)
    tokens = torch.randn(5, 128, generator=torch.Generator().manual_seed(1)).double()
    expected = block_by_hand(tokens.numpy(), {name: value.double().numpy() for name, value in state.items()})
    with torch.no_grad():
        np.testing.assert_allclose(block(tokens[None])[0], expected, rtol=1e-9, atol=1e-9)


def cubic(distance: float, a: float = -0.75) -> float:
    """Keys' kernel."""
    x = abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def test_positions_are_scaled_with_the_published_offset():
    network = VisionTransformer(64, depth=0)
    grid = torch.randn(37, 37, generator=torch.Generator().manual_seed(0)).numpy()
    with torch.no_grad():
        network.pos_embed[0, 1:, 0] = torch.from_numpy(grid).flatten()
        network.pos_embed[0, 0, 0] = 7
        found = network.positions(16, 16)[0, :, 0]
        assert torch.equal(network.positions(37, 37), network.pos_embed)
    assert len(found) == 1 + 16 * 16
    assert found[0] == 7
    for row, column in ((0, 0), (5, 9), (15, 15)):
        expected = 0.0
        at = [(place + 0.5) * 37 / 16.1 - 0.5 for place in (row, column)]
        for down in range(int(np.floor(at[0])) - 1, int(np.floor(at[0])) + 3):
            for right in range(int(np.floor(at[1])) - 1, int(np.floor(at[1])) + 3):
                inside = grid[min(36, max(0, down)), min(36, max(0, right))]
                expected += cubic(at[0] - down) * cubic(at[1] - right) * inside
        assert float(found[1 + 16 * row + column]) == pytest.approx(expected, abs=1e-4)


def test_published_weights_make_the_network_whatever_they_are_packed_in(weights: dict[str, Tensor], tmp_path: Path):
    torch.save(weights, tmp_path / "w.pth")
    network = DinoV2(weights=str(tmp_path / "w.pth")).build(Stripes(), CPU)
    images = Stripes().read([0, 1])["real"]
    with torch.no_grad():
        features = network(images)
        assert torch.equal(features, network(images.expand(-1, 3, -1, -1)))
    assert features.shape == (2, 384)
    assert network.about == {"file_sha256": hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()}
    # Without what the blocks add, the class token with its position remains, and nothing of the image.
    still = {name: torch.zeros_like(value) if name.endswith("gamma") else value for name, value in weights.items()}
    torch.save({f"module.{name}": value for name, value in still.items()}, tmp_path / "still.pth")
    with torch.no_grad():
        found = DinoV2(weights=str(tmp_path / "still.pth")).build(Stripes(), CPU)(images)
    token = (weights["cls_token"] + weights["pos_embed"][:, :1])[0].numpy().astype(float)
    expected = normalised(token, weights["norm.weight"].numpy(), weights["norm.bias"].numpy())
    np.testing.assert_allclose(found, np.repeat(expected, 2, 0), rtol=1e-3, atol=1e-5)


def test_other_weights_are_refused(weights: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "w.pth"
    torch.save(weights, path)
    with pytest.raises(ConfigError, match=r"w.pth is not dinov2_vitb14 \(unlike .*--weights FILE"):
        DinoV2(model="dinov2_vitb14", weights=str(path)).build(Stripes(), CPU)
    torch.save({name: value for name, value in weights.items() if not name.startswith("blocks.11")}, path)
    with pytest.raises(ConfigError, match=r"no blocks.11.attn.proj.bias.*14 tensors are missing, 0 do not fit"):
        DinoV2(weights=str(path)).build(Stripes(), CPU)
    with pytest.raises(ConfigError, match=r"evaluate.features.weights: there is no .*--weights FILE.*name: dinov2"):
        DinoV2(weights=str(tmp_path / "none.pth")).build(Stripes(), CPU)
    # The port of nobody.
    monkeypatch.setattr(dinov2, "URL", "http://127.0.0.1:9/{0}_pretrain.pth")
    monkeypatch.setattr(objects, "PAUSE", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("GANDIST_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match=r"the weights of dinov2 cannot be fetched: .*dinov2_vits14_pretrain.pth"):
        DinoV2().build(Stripes(), CPU)
