"""Dense networks for points."""

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts, Noise
from gandist_architectures.layers import LeakyReLU, ReLU, at_least_float32
from gandist_architectures.packing import Packing, packed
from gandist_architectures.spectral import spectral


def dense(inputs: int, width: int, depth: int, outputs: int, activation: str, norm: str = "none") -> nn.Sequential:
    """`depth` hidden layers of `width` units, then a linear one. norm: of the weights."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [spectral(nn.Linear(inputs, width), norm), ReLU() if activation == "relu" else LeakyReLU(0.2)]
        inputs = width
    return nn.Sequential(*layers, spectral(nn.Linear(inputs, outputs), norm))


class Generator(nn.Module):
    """Latents to points."""

    def __init__(self, body: nn.Module, latent: int, scale: float):
        super().__init__()
        self.body, self.latent, self.scale = body, latent, scale

    def draw(self, noise: Noise, n: int) -> Tensor:
        """Standard normal latents, (n, latent)."""
        return noise.normal(n, self.latent)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, latent) → points (B, D). Labels are not used."""
        return at_least_float32(self.body(latents)) * self.scale


class Discriminator(nn.Module):
    """Points to logits."""

    def __init__(self, body: nn.Module, scale: float):
        super().__init__()
        self.body, self.scale = body, scale

    def forward(self, points: Tensor, labels: Tensor | None = None) -> Tensor:
        """Points (B, D) → logits (B,). Labels are not used."""
        return at_least_float32(self.body(points / self.scale)).squeeze(1)


class Mlp(Architecture):
    """Dense networks for points, such as mixtures of Gaussians in the plane."""

    name: ClassVar[str] = "mlp"

    width: int = Field(128, ge=1)
    """Units of a hidden layer, in both players."""
    depth: int = Field(3, ge=1)
    """Number of hidden layers, in both players."""
    latent: int = Field(64, ge=1)
    """Length of the latent vectors."""
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    """After each hidden layer; leaky_relu has slope 0.2 below zero."""
    scale: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Typical coordinate of the data: the generator's output is multiplied, the discriminator's input divided by it."""
    norm: Literal["spectral", "none"] = "none"
    """Norm of the discriminator's weights."""
    pack: Packing = 1

    def refuse(self, facts: Facts) -> str | None:
        """Images."""
        if not facts.images:
            return None
        height, width = facts.shape[1:]
        return f"mlp makes points, the data set has images of {height}×{width}: use architecture.name: dcgan"

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Generator and discriminator."""
        (dimensions,) = facts.shape
        make = {"width": self.width, "depth": self.depth, "activation": self.activation}

        def discriminator(inputs: int) -> nn.Module:
            return Discriminator(dense(inputs, outputs=1, norm=self.norm, **make), self.scale)

        return {
            "generator": Generator(dense(self.latent, outputs=dimensions, **make), self.latent, self.scale),
            "discriminator": packed(discriminator, dimensions, self.pack),
        }
