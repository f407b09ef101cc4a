"""DCGAN (Radford, Metz & Chintala 2016)."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts, Noise, Verdict
from gandist_architectures.conditioning import (
    Conditioning,
    GeneratorLabels,
    LabelledLatents,
    Layers,
    Norm,
    batch_norm_by_class,
    label_head,
    unlabelled,
)
from gandist_architectures.convolutions import Collapse, FromImages, Project, ToImages
from gandist_architectures.layers import (
    LeakyReLU,
    ReLU,
    at_least_float32,
    channels_last,
    kernels_last,
    layer_norm,
)
from gandist_architectures.packing import Packing, mixed_packs, packed
from gandist_architectures.sizes import wrong_size
from gandist_architectures.spectral import spectral

SIZES = (16, 32, 64, 128)
SPREAD = 0.02
"""Standard deviation of the first weights (section 4), and of batch norm's first gains about 1 (the authors' code)."""


def initialised(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    """The layer with weights from N(0, 0.02²) and bias 0."""
    nn.init.normal_(layer.weight, 0.0, SPREAD)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def batch_norm(channels: int) -> nn.Module:
    """Batch norm with gains from N(1, 0.02²)."""
    layer = nn.BatchNorm2d(channels)
    nn.init.normal_(layer.weight, 1.0, SPREAD)
    return layer


class Generator(nn.Module):
    """4×4 to `size` by transposed convolutions of stride 2 that halve the channels, the last but one having `width`.

    classes: what the latents say beside themselves, 0 for nothing. norm: after each layer but the last.
    """

    def __init__(self, size: int, channels: int, width: int, latent: int, classes: int = 0, norm: Norm = batch_norm):
        super().__init__()
        self.latent = latent
        self.labelled = LabelledLatents(classes, latent) if classes else None
        wide = width * size // 8
        inputs = 2 * latent if classes else latent
        layers = [initialised(Project(inputs, wide, 4, bias=False)), norm(wide), ReLU(inplace=True)]
        while wide > width:
            layers.append(initialised(nn.ConvTranspose2d(wide, wide // 2, 4, stride=2, padding=1, bias=False)))
            layers += [norm(wide // 2), ReLU(inplace=True)]
            wide //= 2
        layers.append(initialised(ToImages(wide, channels, 4, stride=2, padding=1)))
        self.body = Layers(*layers)

    def draw(self, noise: Noise, n: int) -> Tensor:
        """Standard normal latents, (n, latent)."""
        return noise.normal(n, self.latent)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, latent) → images (B, C, size, size) in [-1, 1]. Labels count if it is conditional."""
        if self.labelled is not None:
            latents = self.labelled(latents, labels)
        return torch.tanh(at_least_float32(self.body(latents, labels)))


class Discriminator(nn.Module):
    """`size` to 4×4 by convolutions of stride 2 that double the channels from `width` on, then one logit."""

    def __init__(self, size: int, channels: int, width: int, norm: str, conditioning: str = "none", classes: int = 0):
        super().__init__()
        # The first layer sees the images as they are (section 3): no batch or layer norm there.
        layers: list[nn.Module] = [
            spectral(initialised(FromImages(channels, width, 4, stride=2, padding=1)), norm),
            LeakyReLU(0.2, inplace=True),
        ]
        while size > 8:
            convolution = nn.Conv2d(width, width * 2, 4, stride=2, padding=1, bias=norm != "batch")
            width, size = width * 2, size // 2
            layers.append(spectral(initialised(convolution), norm))
            if norm == "batch":
                layers.append(batch_norm(width))
            elif norm == "layer":
                layers.append(layer_norm(width))
            layers.append(LeakyReLU(0.2, inplace=True))
        layers.append(spectral(initialised(Collapse(width, 1, 4)), norm))
        self.body = nn.Sequential(*layers)
        # Labels are judged by what the last layer sees.
        spread = 0.0, SPREAD
        self.labels = label_head(conditioning, classes, width * 16, norm, lambda w: nn.init.normal_(w, *spread))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor | Verdict:
        """Images (B, C, size, size) → logits (B,), with class logits (B, K) if there is an auxiliary classifier."""
        *body, last = self.body
        features = channels_last(images)
        for layer in body:
            features = layer(features)
        logits = at_least_float32(last(features)).flatten()
        return logits if self.labels is None else self.labels(logits, features.flatten(1), labels)


class Dcgan(Architecture):
    """DCGAN (Radford et al. 2016) for square images of 16, 32, 64 or 128 pixels."""

    name: ClassVar[str] = "dcgan"

    width: int = Field(64, ge=1)
    """Channels of the layers next to the images; deeper ones have more. Scales both players."""
    latent: int = Field(100, ge=1)
    """Length of the latent vectors."""
    norm: Literal["batch", "spectral", "layer", "none"] = "batch"
    """Normalisation in the discriminator. With a gradient penalty take layer or none (Gulrajani et al. 2017)."""
    conditioning: Conditioning = "none"
    generator_labels: GeneratorLabels = "batch-norm"
    pack: Packing = 1

    def refuse(self, facts: Facts) -> str | None:
        """Points, images that are not square or of another size, and fields that do not fit them or each other."""
        return (
            wrong_size(self.name, facts, SIZES)
            or unlabelled(self.name, self.conditioning, facts)
            or mixed_packs(self.name, self.pack, self.conditioning)
        )

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Generator and discriminator."""
        channels, size, _ = facts.shape
        by = self.generator_labels if self.conditioning != "none" else None
        told = facts.classes if by == "latent" else 0
        norm = batch_norm_by_class(facts.classes, spread=SPREAD) if by == "batch-norm" else batch_norm
        judging = (self.width, self.norm, self.conditioning, facts.classes)
        return {
            "generator": kernels_last(Generator(size, channels, self.width, self.latent, told, norm)),
            "discriminator": kernels_last(
                packed(lambda channels: Discriminator(size, channels, *judging), channels, self.pack)
            ),
        }
