"""The Inception of FID: its function, and weights from anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gandist_metrics import inception
from gandist_metrics.inception import InceptionV3, resized
from gandist_metrics.inception_network import Inception
from PIL import Image
from stripes import Stripes
from tiny import config as tiny_config
from torch import Tensor, nn
from web import Web, web

from gandist import ConfigError, Facts, Source, download
from gandist.data import remote
from gandist.evaluation.evaluator import Evaluator
from gandist.evaluation.reference import halves
from gandist.training import objects

pytestmark = pytest.mark.arithmetic

CPU = torch.device("cpu")
# Of torch-fidelity 0.4's FeatureExtractorInceptionV3 on the picture below; ours differed from it by nothing at all.
FEATURES = [0.0, 0.619629, 4.36343, 2.15228, 7.03793, 0.0205797]
MEAN = 3.0673227
LOGITS = [6.78205, 11.4932, 3.01131, 10.2615]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANDIST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(objects, "PAUSE", 0.001)
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as running:
        yield running


def synthetic() -> dict[str, Tensor]:
    """Weights by the published names, of which no activation dies out or explodes."""
    state = {}
    for name, tensor in sorted(Inception().state_dict().items()):
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
        normal = torch.from_numpy(np.random.RandomState(seed).standard_normal(tuple(tensor.shape)).astype(np.float32))
        if name.endswith("conv.weight"):
            normal = normal * (2 / tensor[0].numel()) ** 0.5
        elif name.endswith(("running_var", "bn.weight")):
            normal = 1 + 0.1 * normal.abs()
        elif not name.endswith("num_batches_tracked"):
            normal = 0.05 * normal
        state[name] = tensor if name.endswith("num_batches_tracked") else normal
    return state


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return synthetic()


def picture(count: int = 2, channels: int = 3, side: int = 40) -> Tensor:
    return torch.from_numpy(np.random.RandomState(0).randint(0, 256, (count, channels, side, side)).astype(np.uint8))


def built(path: Path | str, **fields: Any) -> nn.Module:
    return InceptionV3(weights=str(path), **fields).build(Stripes(), CPU)


def test_the_network_is_the_published_one(weights: dict[str, Tensor]):
    """The figures are those of torch-fidelity's own class with these weights (its resizing left out)."""
    network = Inception().eval()
    network.load_state_dict(weights)
    pixels = torch.from_numpy(np.random.RandomState(1).randint(0, 256, (1, 3, 299, 299)).astype(np.float32))
    with torch.no_grad():
        features, logits = network((pixels - 128) / 128)
    assert features.shape == (1, 2048)
    assert logits.shape == (1, 1008)
    assert features[0, ::409].tolist() == pytest.approx(FEATURES, rel=1e-3)
    assert float(features.mean()) == pytest.approx(MEAN, rel=1e-4)
    assert logits[0, ::252].tolist() == pytest.approx(LOGITS, rel=1e-3)


def test_clean_resizing_is_pillows():
    for side in (32, 400):
        images = picture(1, 3, side)
        planes = [Image.fromarray(plane.numpy().astype(np.float32), mode="F") for plane in images[0]]
        expected = np.stack([np.asarray(plane.resize((299, 299), Image.Resampling.BICUBIC)) for plane in planes])
        np.testing.assert_allclose(resized(images.float(), "clean")[0], expected, atol=5e-3)
    small, large = resized(picture(1, 3, 400).float(), "clean"), resized(picture(1, 3, 400).float(), "pytorch-fid")
    assert float((small - large).abs().mean()) > 5


def test_both_published_layouts_give_the_same_network(weights: dict[str, Tensor], tmp_path: Path):
    counts = {name for name in weights if name.endswith("num_batches_tracked")}
    head = {"AuxLogits.fc.weight": torch.zeros(3)}
    # pytorch-fid and StudioGAN leave the counts out; what torchvision's class has saved holds them, and a second head.
    torch.save({name: value for name, value in weights.items() if name not in counts}, tmp_path / "plain.pth")
    torch.save(weights | head, tmp_path / "full.pth")
    one, other = built(tmp_path / "plain.pth"), built(tmp_path / "full.pth")
    with torch.no_grad():
        grey = picture(1, 1, 28)
        features, logits = one(grey)
        again, _ = other(grey)
        third, _ = one(grey.expand(-1, 3, -1, -1))
    assert features.shape == (1, 2048)
    assert logits.shape == (1, 1008)
    assert torch.equal(features, again)
    torch.testing.assert_close(features, third)
    assert one.about["file_sha256"] == hashlib.sha256((tmp_path / "plain.pth").read_bytes()).hexdigest()


def test_other_files_are_refused(weights: dict[str, Tensor], tmp_path: Path):
    path = tmp_path / "w.pth"
    with pytest.raises(ConfigError, match=r"evaluate.features.weights: there is no .*w.pth; .*--weights FILE"):
        built(path)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(ConfigError, match=r"w.pth holds no weights: .*--weights FILE"):
        built(path)
    torch.save({"fc.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(ConfigError, match=r"is not the Inception v3 of FID .*1 do not fit"):
        built(path)
    few = {name: value for name, value in weights.items() if not name.startswith("Mixed_7c.branch_pool")}
    torch.save({**few, "fc.weight": torch.zeros(1000, 2048)}, path)
    with pytest.raises(ConfigError, match=r"no Mixed_7c.branch_pool.bn.bias.*5 tensors are missing, 1 do not fit"):
        built(path)


def test_weights_of_a_url_are_fetched_once_and_found_without_a_network(
    weights: dict[str, Tensor], tmp_path: Path, server: Web, monkeypatch: pytest.MonkeyPatch
):
    torch.save(weights, tmp_path / "w.pth")
    content = (tmp_path / "w.pth").read_bytes()
    server.contents["fid/w.pth"] = content
    url = f"{server.url('fid/w.pth')}#sha256={hashlib.sha256(content).hexdigest()}"
    one = built(url)
    assert server.gets("fid/w.pth") == [None]
    monkeypatch.setattr(remote.Web, "_once", lambda *_, **__: pytest.fail("it was asked for again"))
    with torch.no_grad():
        assert torch.equal(one(picture(1))[0], built(url)(picture(1))[0])


@pytest.mark.slow
def test_fid_and_others_share_one_network(weights: dict[str, Tensor], tmp_path: Path):
    torch.save(weights, tmp_path / "w.pth")
    source = Stripes(12, "inception")
    given = {"metrics": ["fid", "kid"], "features": {"name": "inception-v3-tf", "weights": str(tmp_path / "w.pth")}}
    evaluator = Evaluator(tiny_config(evaluate={**given, "count": 6}), source, CPU)
    real = source.read(halves(source, 6)[1].tolist())["real"]
    scores = evaluator.score([real])
    assert scores["fid"] == pytest.approx(scores["fid_real"], rel=1e-4)
    assert scores["kid"] == pytest.approx(scores["kid_real"], abs=1e-6)
    assert scores["fid_real"] > 0
    protocol = evaluator.protocol()
    assert protocol["metrics"] == {
        "fid": {"features": "inception-v3-tf", "weights": None},
        "kid": {"features": "inception-v3-tf"},
    }
    assert list(protocol["spaces"]) == ["inception-v3-tf"]
    assert protocol["resize"] == "clean"
    assert protocol["file_sha256"] == hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()


CONTENT = bytes(range(256)) * 4000
SHA = hashlib.sha256(CONTENT).hexdigest()


def test_a_wrong_checksum_is_told_and_nothing_is_kept(server: Web, cache: Path):
    server.contents["w.pth"] = b"x" + CONTENT[1:]
    with pytest.raises(ConfigError, match=rf"evaluate.features.weights: .*w.pth came with the SHA-256 .* {SHA}"):
        built(f"{server.url('w.pth')}#sha256={SHA}")
    assert not list(cache.rglob("content*"))
    server.contents["w.pth"] = CONTENT
    assert download(server.url("w.pth"), SHA, "here").read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_a_truncated_download_is_resumed_or_begun_again(server: Web, cache: Path, ranges: bool):
    server.contents["w.pth"], server.ranges = CONTENT, ranges
    # What a process that was killed in the middle has left.
    part = cache / "data" / f"w.pth-{SHA[:16]}.part"
    part.mkdir(parents=True)
    (part / "content.part").write_bytes(CONTENT[:300_000])
    assert download(server.url("w.pth"), SHA, "here").read_bytes() == CONTENT
    assert server.gets("w.pth") == ["bytes=300000-"]
    assert server.sent == len(CONTENT) - (300_000 if ranges else 0)


def test_a_beginning_of_another_file_is_thrown_away(server: Web, cache: Path):
    server.contents["w.pth"] = CONTENT
    part = cache / "data" / f"w.pth-{SHA[:16]}.part"
    part.mkdir(parents=True)
    (part / "content.part").write_bytes(b"other" * 1000)
    assert download(server.url("w.pth"), SHA, "here").read_bytes() == CONTENT


def test_without_a_network_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch):
    # The port of nobody.
    monkeypatch.setattr(inception, "URL", "http://127.0.0.1:9/pt_inception-2015-12-05-6726825d.pth")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(ConfigError) as told:
        InceptionV3().build(Stripes(), CPU)
    for said in ("evaluate.features.weights", "cannot be fetched", "refused", "--weights FILE", inception.URL):
        assert said in str(told.value)


def test_what_it_takes(tmp_path: Path):
    assert InceptionV3(weights="w.pth").weights == str(Path.cwd() / "w.pth")
    for wrong in ("https://host/w.pth", "ftp://host/w.pth#sha256=" + "0" * 64, "https://host/w.pth#sha256=12"):
        with pytest.raises(ValueError, match="should be a path, or a URL that ends in #sha256="):
            InceptionV3(weights=wrong)
    deep = Source()
    deep.facts = Facts((4, 8, 8), 0, 10, "deep")
    assert "1 or 3 channels, these have 4" in (InceptionV3().unfit(deep) or "")
    assert InceptionV3().unfit(Stripes()) is None
