"""A conditional generator that is made by hand: the label is the brightness, the latent makes the picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gandist.contract.noise import Noise


class Labelled(nn.Module):
    """Images (B, 1, 8, 8) of three classes, dark, grey and bright."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.1))

    def draw(self, noise: Noise, n: int) -> Tensor:
        return noise.normal(n, 64)

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return (self.scale * latents).view(-1, 1, 8, 8) + (labels.view(-1, 1, 1, 1) - 1) / 2
