"""Features of DINOv2, learnt without labels."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gandist import Extractor, Source
from gandist_metrics.dinov2_network import VisionTransformer
from gandist_metrics.weights import Weights, cure, found, load, not_photographs, sha256_of

MODELS = {
    "dinov2_vits14": (384, "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"),
    "dinov2_vitb14": (768, "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73"),
}
"""Width and the SHA-256 of the published file, by its name in torch.hub."""
URL = "https://dl.fbaipublicfiles.com/dinov2/{0}/{0}_pretrain.pth"
SIDE = 224
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels from 0 to 1, as the network was trained."""


class Resized(nn.Module):
    """The transformer on uint8 images (B, C, H, W) of any size and 1 or 3 channels."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: VisionTransformer, about: dict[str, Any]):
        super().__init__()
        self.network, self.about = network, about
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D)."""
        images = images.float().expand(-1, 3, -1, -1)
        images = F.interpolate(images, (SIDE, SIDE), mode="bicubic", antialias=True, align_corners=False)
        return self.network((images / 255 - self.mean) / self.deviation)


class DinoV2(Extractor):
    """The class token's features of a DINOv2 transformer (Oquab et al. 2024), which see shapes where Inception sees
    textures, and agree better with people (Stein et al. 2023). Images are resized to 224×224 as clean-fid does."""

    name: ClassVar[str] = "dinov2"
    # What is in the file tells, not where it lies.
    unnamed: ClassVar[frozenset[str]] = frozenset({"weights"})

    model: Literal["dinov2_vits14", "dinov2_vitb14"] = "dinov2_vits14"
    """Which one, by its name in torch.hub: 384 features and a file of 88 MB, or 768 and 346 MB."""
    weights: Weights | None = None
    """File of the weights as they are published, or its URL with #sha256=; null downloads them once."""

    def unfit(self, source: Source) -> str | None:
        """Grey or coloured images."""
        return not_photographs(source)

    def build(self, source: Source, device: torch.device) -> nn.Module:
        """The network with the published weights. Raises ConfigError for weights that cannot be had or do not fit."""
        width, sha256 = MODELS[self.model]
        url = URL.format(self.model)
        path = found(self.weights, url, sha256, self.name)
        network = VisionTransformer(width)
        # What stood for patches that the training hid.
        load(network, path, self.model, cure(self.name, url), lambda name: name == "mask_token")
        return Resized(network.eval(), {"file_sha256": sha256_of(path)})
