"""The features that FID is defined by."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gandist import Extractor, Source
from gandist_metrics.inception_network import Inception
from gandist_metrics.weights import Weights, cure, found, load, not_photographs, sha256_of

URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of pytorch-fid's file (StudioGAN's too) and of torch-fidelity's, which are the same, byte for byte."""
SIDE = 299
Resize = Literal["clean", "pytorch-fid"]


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
        return not_photographs(source)

    def build(self, source: Source, device: torch.device) -> nn.Module:
        """The network with the published weights. Raises ConfigError for weights that cannot be had or do not fit."""
        path = found(self.weights, URL, SHA256, self.name)
        network = Inception()
        # Conversions may hold a head for training.
        mend = cure(self.name, URL)
        load(network, path, "the Inception v3 of FID", mend, lambda name: name.startswith("AuxLogits."))
        return Resized(network.eval(), self.resize, {"file_sha256": sha256_of(path)})
