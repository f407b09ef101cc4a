"""The Inception v3 that FID is defined by (Szegedy et al. 2016, as TensorFlow published it on 2015-12-05).

Its parts are called as in the published PyTorch conversions of its weights. It differs from torchvision's: average
pooling does not count the padding, and the last block takes the maximum.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES, FEATURES = 1008, 2048
Convolution = tuple[str, int, tuple[int, int], int]
"""Name, channels, kernel (height, width), stride; strided ones are not padded, the others keep the size."""


class Normalised(nn.Module):
    """A convolution, batch norm and the positive part."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], stride: int = 1, padded: bool = True):
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if padded else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, images: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, h, w)."""
        return self.bn(self.conv(images)).relu_()


class Mixed(nn.Module):
    """Branches side by side, their outputs one after the other.

    chains: each a series of convolutions; where an entry is a list, all of it gets the same input, and the outputs are
    put side by side. pooled: how the last branch pools, "average", "maximum", or "half" (the maximum, without padding
    and at half the size); then a convolution `branch_pool` of `pool` channels, if there is one.
    """

    def __init__(
        self, inputs: int, chains: Sequence[Sequence[Convolution | list[Convolution]]], pooled: str, pool: int = 0
    ):
        super().__init__()
        self._chains: list[list[list[str]]] = []
        self._pooled = pooled
        for chain in chains:
            channels, steps = inputs, []
            for step in chain:
                fork = step if isinstance(step, list) else [step]
                for name, outputs, kernel, stride in fork:
                    self.add_module(name, Normalised(channels, outputs, kernel, stride, padded=stride == 1))
                channels = sum(outputs for _, outputs, _, _ in fork)
                steps.append([name for name, _, _, _ in fork])
            self._chains.append(steps)
        if pool:
            self.branch_pool = Normalised(inputs, pool, (1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, all branches' channels, h, w)."""
        found = []
        for chain in self._chains:
            branch = images
            for fork in chain:
                branch = torch.cat([getattr(self, name)(branch) for name in fork], 1)
            found.append(branch)
        return torch.cat([*found, self._pool(images)], 1)

    def _pool(self, images: Tensor) -> Tensor:
        if self._pooled == "half":
            return F.max_pool2d(images, 3, 2)
        if self._pooled == "maximum":
            return self.branch_pool(F.max_pool2d(images, 3, 1, 1))
        return self.branch_pool(F.avg_pool2d(images, 3, 1, 1, count_include_pad=False))


def _c(name: str, outputs: int, height: int = 1, width: int | None = None, stride: int = 1) -> Convolution:
    return f"branch{name}", outputs, (height, width or height), stride


def _at_35(inputs: int, pool: int) -> Mixed:
    double = [_c("3x3dbl_1", 64), _c("3x3dbl_2", 96, 3), _c("3x3dbl_3", 96, 3)]
    return Mixed(inputs, [[_c("1x1", 64)], [_c("5x5_1", 48), _c("5x5_2", 64, 5)], double], "average", pool)


def _to_17(inputs: int) -> Mixed:
    double = [_c("3x3dbl_1", 64), _c("3x3dbl_2", 96, 3), _c("3x3dbl_3", 96, 3, stride=2)]
    return Mixed(inputs, [[_c("3x3", 384, 3, stride=2)], double], "half")


def _at_17(inner: int) -> Mixed:
    single = [_c("7x7_1", inner), _c("7x7_2", inner, 1, 7), _c("7x7_3", 192, 7, 1)]
    double = [
        _c("7x7dbl_1", inner),
        _c("7x7dbl_2", inner, 7, 1),
        _c("7x7dbl_3", inner, 1, 7),
        _c("7x7dbl_4", inner, 7, 1),
        _c("7x7dbl_5", 192, 1, 7),
    ]
    return Mixed(768, [[_c("1x1", 192)], single, double], "average", 192)


def _to_8(inputs: int) -> Mixed:
    small = [_c("3x3_1", 192), _c("3x3_2", 320, 3, stride=2)]
    large = [_c("7x7x3_1", 192), _c("7x7x3_2", 192, 1, 7), _c("7x7x3_3", 192, 7, 1), _c("7x7x3_4", 192, 3, stride=2)]
    return Mixed(inputs, [small, large], "half")


def _at_8(inputs: int, pooled: str) -> Mixed:
    single = [_c("3x3_1", 384), [_c("3x3_2a", 384, 1, 3), _c("3x3_2b", 384, 3, 1)]]
    double = [_c("3x3dbl_1", 448), _c("3x3dbl_2", 384, 3), [_c("3x3dbl_3a", 384, 1, 3), _c("3x3dbl_3b", 384, 3, 1)]]
    return Mixed(inputs, [[_c("1x1", 320)], single, double], pooled, 192)


class Inception(nn.Module):
    """The network without what resizes its input."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Normalised(3, 32, (3, 3), 2, padded=False)
        self.Conv2d_2a_3x3 = Normalised(32, 32, (3, 3), padded=False)
        self.Conv2d_2b_3x3 = Normalised(32, 64, (3, 3))
        self.Conv2d_3b_1x1 = Normalised(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = Normalised(80, 192, (3, 3), padded=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _at_35(192, 32), _at_35(256, 64), _at_35(288, 64)
        self.Mixed_6a = _to_17(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = _at_17(128), _at_17(160), _at_17(160), _at_17(192)
        self.Mixed_7a, self.Mixed_7b, self.Mixed_7c = _to_8(768), _at_8(1280, "average"), _at_8(2048, "maximum")
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, 2048) and logits (B, 1008) of images (B, 3, 299, 299), about -1 to 1.

        The logits are without their bias, as Inception Score has always been computed.
        """
        images = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        images = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(images, 3, 2)))
        images = F.max_pool2d(images, 3, 2)
        for block in (self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a, self.Mixed_6b, self.Mixed_6c):
            images = block(images)
        for block in (self.Mixed_6d, self.Mixed_6e, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c):
            images = block(images)
        features = images.mean((2, 3))
        return features, features @ self.fc.weight.T
