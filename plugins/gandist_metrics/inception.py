"""The features that FID is defined by."""

from __future__ import annotations

import hashlib
import pickle
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator
from torch import Tensor, nn
from torch.nn import functional as F

from gandist import ConfigError, Extractor, Source, download
from gandist_metrics.inception_network import Inception

URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of pytorch-fid's file (StudioGAN's too) and of torch-fidelity's, which are the same, byte for byte."""
SIDE = 299
Resize = Literal["clean", "pytorch-fid"]


def _root(text: str) -> str:
    """A path made absolute, or a URL with the SHA-256 of what is there."""
    if "://" not in text:
        return str(Path(text).expanduser().absolute())
    url, _, digest = text.partition("#sha256=")
    if not url.startswith(("https://", "http://", "s3://", "gs://")) or len(digest) != 64:
        raise ValueError("should be a path, or a URL that ends in #sha256= and 64 hexadecimal digits")
    return text


Weights = Annotated[str, AfterValidator(_root)]


class Resized(nn.Module):
    """Inception on uint8 images (B, C, H, W) of any size and 1 or 3 channels."""

    def __init__(self, network: Inception, resize: Resize, about: dict[str, Any]):
        super().__init__()
        self.network, self.about = network, about
        self.resize: Resize = resize

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, 2048) and logits (B, 1008)."""
        images = images.float().expand(-1, 3, -1, -1)
        return self.network(resized(images, self.resize).sub(128).div(128))


def resized(images: Tensor, how: Resize) -> Tensor:
    """Images float (B, C, H, W) of 0 to 255 at 299×299.

    clean: bicubic, with a filter as wide as the image shrinks, and not rounded, as Parmar et al. 2022 (clean-fid) do
    with Pillow. pytorch-fid: bilinear between neighbours, which aliases where images shrink.
    """
    if how == "clean":
        return F.interpolate(images, (SIDE, SIDE), mode="bicubic", antialias=True, align_corners=False)
    return F.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False)


class InceptionV3(Extractor):
    """The 2048 features of Inception v3 on ImageNet that FID is defined by, TensorFlow's weights of 2015."""

    name: ClassVar[str] = "inception-v3-tf"
    knows_classes: ClassVar[bool] = True
    # What is in the file tells, not where it lies.
    unnamed: ClassVar[frozenset[str]] = frozenset({"weights"})

    weights: Weights | None = None
    """File of the weights as pytorch-fid, StudioGAN or torch-fidelity publish them (96 MB), or its URL with #sha256=;
    null downloads them once."""
    resize: Resize = "clean"
    """How images become 299×299: clean, as clean-fid does, or pytorch-fid, as most figures before it were made."""

    def unfit(self, source: Source) -> str | None:
        """Grey or coloured images."""
        if not source.facts.images:
            return "needs images, the data set has points; use modes, or features: pixels"
        channels = source.facts.shape[0]
        return None if channels in (1, 3) else f"needs images of 1 or 3 channels, these have {channels}"

    def build(self, source: Source, device: torch.device) -> nn.Module:
        """The network with the published weights. Raises ConfigError for weights that cannot be had or do not fit."""
        path = self._path()
        network = Inception()
        _load(network, path)
        with path.open("rb") as file:
            sha = hashlib.file_digest(file, "sha256").hexdigest()
        return Resized(network.eval(), self.resize, {"file_sha256": sha})

    def _path(self) -> Path:
        if self.weights is not None and "://" not in self.weights:
            if not Path(self.weights).is_file():
                raise ConfigError(f"evaluate.features.weights: there is no {self.weights}; {_cure()}")
            return Path(self.weights)
        url, _, sha = (self.weights or f"{URL}#sha256={SHA256}").partition("#sha256=")
        try:
            return download(url, sha, "evaluate.features.weights", _tell)
        except OSError as error:
            raise ConfigError(
                f"evaluate.features.weights: the weights of {self.name} cannot be fetched: {error}; {_cure()}"
            ) from None


def _tell(text: str) -> None:
    print(f"fetching the weights of Inception, {text}", file=sys.stderr)


def _cure() -> str:
    return (
        f"get {URL} on a machine with a network and give its path: --weights FILE, or in the config "
        "evaluate.features={name: inception-v3-tf, weights: FILE}"
    )


def _load(network: Inception, path: Path) -> None:
    """Loads a state dict in any of the published layouts. Raises ConfigError for another file."""
    try:
        # Never more than tensors: what the file says is not executed.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        first = str(error).split("\n", 1)[0][:200]
        raise ConfigError(f"evaluate.features.weights: {path} holds no weights: {first}; {_cure()}") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    state = {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
    # Conversions may hold a head for training, and counts of batches that evaluation does not use.
    state = {name: value for name, value in state.items() if not name.startswith("AuxLogits.")}
    own = network.state_dict()
    counts = {name for name in own if name.endswith("num_batches_tracked")}
    missing = sorted(set(own) - counts - set(state))
    other = sorted(set(state) - set(own)) + sorted(n for n in set(own) & set(state) if own[n].shape != state[n].shape)
    if missing or other:
        examples = ", ".join([*(f"no {name}" for name in missing[:2]), *(f"unlike {name}" for name in other[:2])])
        raise ConfigError(
            f"evaluate.features.weights: {path} is not the Inception v3 of FID ({examples}; {len(missing)} tensors are "
            f"missing, {len(other)} do not fit); {_cure()}"
        )
    network.load_state_dict({name: state[name] for name in own if name not in counts}, strict=False)
