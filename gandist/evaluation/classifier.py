"""The small classifier whose last hidden layer is the feature space of the scores."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES = 64
"""Width of the feature space."""
_SMALLEST, _LARGEST = 8, 32


def shrink(images: Tensor) -> Tensor:
    """Images uint8 (B, C, H, W) with sides of 8 to 32, averaged down from larger ones, uint8 again; float stays float.

    Training, reference and samples all pass here, so that nothing but the images differs between them.
    """
    height, width = (min(_LARGEST, max(_SMALLEST, side)) for side in images.shape[-2:])
    if (height, width) == tuple(images.shape[-2:]):
        return images
    averaged = F.adaptive_avg_pool2d(images.float(), (height, width))
    return averaged if images.is_floating_point() else averaged.round_().to(torch.uint8)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    # Pooled before it is normalised, which is a quarter of the work.
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Classifier(nn.Module):
    """Three blocks of convolution, pooling and batch norm, a hidden layer of 64, and one logit a class."""

    accuracy: float = math.nan
    """On held-out samples, once trained."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.blocks = nn.Sequential(
            _block(channels, 16), _block(16, 32), _block(32, 64), nn.AdaptiveAvgPool2d(4), nn.Flatten()
        )
        self.hidden = nn.Linear(64 * 4 * 4, FEATURES)
        self.head = nn.Linear(FEATURES, classes)
        # So few channels take half the time on CPUs when they lie beside each other.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def about(self) -> dict[str, float]:
        """What joins the protocol of a score."""
        return {"classifier_accuracy": self.accuracy}

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, 64), not negative, and logits (B, classes) of uint8 images (B, C, H, W) of any size."""
        features = self.hidden(self.blocks(shrink(images).float().div(127.5).sub(1))).relu()
        return features, self.head(features)
