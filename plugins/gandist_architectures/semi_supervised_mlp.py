"""Dense players for semi-supervised learning."""

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts, Noise, Verdict
from gandist_architectures.layers import ReLU, at_least_float32
from gandist_architectures.semi_supervised import GaussianNoise, normed, verdict, without_classes

HIDDEN = (1000, 500, 250, 250, 250)
"""Units of the discriminator's layers in the paper."""


class Generator(nn.Module):
    """Two dense layers with batch norm and softplus, then a dense one with weight norm, and tanh for images."""

    def __init__(self, shape: tuple[int, ...], latent: int, width: int):
        super().__init__()
        self.shape, self.latent = shape, latent
        self.body = nn.Sequential(
            # Batch norm takes the mean away again, so a bias before it would be moved by rounding noise only.
            nn.Linear(latent, width, bias=False),
            nn.BatchNorm1d(width),
            nn.Softplus(),
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.Softplus(),
            normed(nn.Linear(width, math.prod(shape)), slope=1.0),
        )

    def draw(self, noise: Noise, n: int) -> Tensor:
        """Latents uniform in [0, 1), (n, latent)."""
        return noise.uniform(n, self.latent)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, latent) → images (B, C, H, W) in [-1, 1], or points (B, D). Labels do not count."""
        out = at_least_float32(self.body(latents)).unflatten(1, self.shape)
        return torch.tanh(out) if len(self.shape) == 3 else out


class Discriminator(nn.Module):
    """Five dense layers with weight norm, ReLU and noise in front of each, then class logits."""

    def __init__(self, shape: tuple[int, ...], classes: int, width: int, input_noise: float, noise: float):
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten(), GaussianNoise(input_noise)]
        inputs = math.prod(shape)
        for units in HIDDEN:
            units = max(1, round(units * width / HIDDEN[0]))
            layers += [normed(nn.Linear(inputs, units)), ReLU(), GaussianNoise(noise)]
            inputs = units
        # The features are those before the last noise.
        self.body, self.last_noise = nn.Sequential(*layers[:-1]), layers[-1]
        self.head = normed(nn.Linear(inputs, classes), slope=1.0)

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Verdict:
        """Images or points → logits (B,), class logits (B, K) and features (B, F). Labels do not count."""
        features = self.body(samples)
        answer = verdict(self.last_noise(features), self.head)
        return answer._replace(features=at_least_float32(features))


class SemiSupervisedMlp(Architecture):
    """A dense classifier with noise in all layers, and a dense generator (Salimans et al. 2016, their code for MNIST).

    Takes images of any size, and points. Both players have weight norm.
    """

    name: ClassVar[str] = "semi-supervised-mlp"

    latent: int = Field(100, ge=1)
    """Length of the latent vectors, which are uniform."""
    width: int = Field(1000, ge=4)
    """Units of the discriminator's first layer; the others are in proportion to the paper's 1000-500-250-250-250."""
    generator_width: int = Field(500, ge=1)
    """Units of the generator's hidden layers."""
    input_noise: float = Field(0.3, ge=0.0, allow_inf_nan=False)
    """Standard deviation of the noise on the discriminator's input."""
    noise: float = Field(0.5, ge=0.0, allow_inf_nan=False)
    """The same on its hidden layers. Without any noise, the number of workers changes nothing at all."""

    def refuse(self, facts: Facts) -> str | None:
        """Data without classes."""
        return without_classes(self.name, facts)

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Generator and discriminator."""
        return {
            "generator": Generator(facts.shape, self.latent, self.generator_width),
            "discriminator": Discriminator(facts.shape, facts.classes, self.width, self.input_noise, self.noise),
        }
