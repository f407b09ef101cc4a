"""The 28×28 classic: dense generator, convolutional discriminator."""

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
from gandist_architectures.convolutions import Collapse, FromImages
from gandist_architectures.layers import Dropout, LeakyReLU, at_least_float32, channels_last, kernels_last
from gandist_architectures.packing import Packing, mixed_packs, packed
from gandist_architectures.spectral import spectral

SIZE = 28


class Generator(nn.Module):
    """Dense layers latent-256-512-1024-784·C with LeakyReLU and batch norm, then tanh.

    norm: batch norm, or None for none. classes: what the latents say beside themselves, 0 for nothing.
    """

    def __init__(self, channels: int, latent: int, norm: Norm | None, classes: int = 0):
        super().__init__()
        self.latent, self.channels = latent, channels
        self.labelled = LabelledLatents(classes, latent) if classes else None
        layers: list[nn.Module] = []
        width = 2 * latent if classes else latent
        for wider in (256, 512, 1024):
            # Batch norm takes the mean away again, so a bias before it would be moved by rounding noise only.
            layers.append(nn.Linear(width, wider, bias=norm is None))
            layers += [norm(wider)] if norm else []
            layers.append(LeakyReLU(0.2, inplace=True))
            width = wider
        self.body = Layers(*layers, nn.Linear(width, channels * SIZE * SIZE))

    def draw(self, noise: Noise, n: int) -> Tensor:
        """Standard normal latents, (n, latent)."""
        return noise.normal(n, self.latent)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, latent) → images (B, C, 28, 28) in [-1, 1]. Labels count if it is conditional."""
        if self.labelled is not None:
            latents = self.labelled(latents, labels)
        pixels = torch.tanh(at_least_float32(self.body(latents, labels)))
        return pixels.view(-1, self.channels, SIZE, SIZE)


class Discriminator(nn.Module):
    """5×5 convolutions of stride 2 with 64 and 128 channels, LeakyReLU and dropout, then one logit."""

    def __init__(self, channels: int, dropout: float, norm: str = "none", conditioning: str = "none", classes: int = 0):
        super().__init__()
        self.body = nn.Sequential(
            spectral(FromImages(channels, 64, 5, stride=2, padding=2), norm),
            LeakyReLU(0.2, inplace=True),
            Dropout(dropout),
            spectral(nn.Conv2d(64, 128, 5, stride=2, padding=2), norm),
            LeakyReLU(0.2, inplace=True),
            Dropout(dropout),
        )
        self.head = spectral(Collapse(128, 1, 7), norm)
        self.labels = label_head(conditioning, classes, 128 * 7 * 7, norm)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor | Verdict:
        """Images (B, C, 28, 28) → logits (B,), with class logits (B, K) if there is an auxiliary classifier."""
        features = self.body(channels_last(images))
        logits = at_least_float32(self.head(features)).flatten()
        return logits if self.labels is None else self.labels(logits, features.flatten(1), labels)


class MlpConv(Architecture):
    """The 28×28 classic: a dense generator and a small convolutional discriminator with dropout."""

    name: ClassVar[str] = "mlp-conv"

    latent: int = Field(100, ge=1)
    """Length of the latent vectors."""
    dropout: float = Field(0.3, ge=0.0, lt=1.0)
    """Share of the discriminator's activations that is dropped."""
    batch_norm: bool = True
    """Batch norm in the generator."""
    norm: Literal["spectral", "none"] = "none"
    """Norm of the discriminator's weights."""
    conditioning: Conditioning = "none"
    generator_labels: GeneratorLabels = "batch-norm"
    pack: Packing = 1

    def refuse(self, facts: Facts) -> str | None:
        """Anything but 28×28 images, grey or in colour, and fields that do not fit them or each other."""
        return (
            self._wrong_size(facts)
            or unlabelled(self.name, self.conditioning, facts)
            or mixed_packs(self.name, self.pack, self.conditioning)
            or self._no_batch_norm()
        )

    def _no_batch_norm(self) -> str | None:
        if self.conditioning == "none" or self.batch_norm or self.generator_labels == "latent":
            return None
        return "mlp-conv has batch_norm: false and generator_labels: batch-norm: set generator_labels: latent"

    def _wrong_size(self, facts: Facts) -> str | None:
        if facts.images and facts.shape[1:] == (SIZE, SIZE):
            return None
        if not facts.images:
            return "mlp-conv makes 28×28 images, the data set has points: use architecture.name: mlp"
        return (
            f"mlp-conv makes 28×28 images, the data set has {facts.shape[1]}×{facts.shape[2]}: "
            f"set dataset.size: 28, or use architecture.name: dcgan"
        )

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Generator and discriminator."""
        channels = facts.shape[0]
        by = self.generator_labels if self.conditioning != "none" else None
        norm = batch_norm_by_class(facts.classes, nn.BatchNorm1d) if by == "batch-norm" else nn.BatchNorm1d
        told = facts.classes if by == "latent" else 0
        judging = (self.dropout, self.norm, self.conditioning, facts.classes)
        return {
            "generator": Generator(channels, self.latent, norm if self.batch_norm else None, told),
            "discriminator": kernels_last(
                packed(lambda channels: Discriminator(channels, *judging), channels, self.pack)
            ),
        }
