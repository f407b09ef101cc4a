"""How the players are told of the class that is asked for, and how a discriminator judges whether it was given."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gandist import Facts, Verdict
from gandist_architectures.layers import at_least_float32
from gandist_architectures.spectral import spectral

Conditioning = Annotated[
    Literal["none", "projection", "auxiliary-classifier"],
    Field(
        description="How the discriminator judges labels: not at all; by projection (Miyato & Koyama 2018); or by a "
        "classifier whose loss is the regularizer auxiliary-classifier (Odena et al. 2017). Needs labelled data."
    ),
]
GeneratorLabels = Annotated[
    Literal["batch-norm", "latent"],
    Field(
        description="Where a conditional generator is told the label: in the gains and biases of its batch norm, or by "
        "an embedding behind the latent vector."
    ),
]
Norm = Callable[[int], nn.Module]
"""Makes the normalisation of so many channels."""


def unlabelled(name: str, conditioning: str, facts: Facts) -> str | None:
    """Why such conditioning is not possible on this data, or None if it is."""
    if conditioning == "none" or facts.classes > 1:
        return None
    known = "one class only" if facts.classes else "no labels"
    return f"{name} with conditioning: {conditioning} needs labels, the data set has {known}: set conditioning: none"


class Conditional(nn.Module):
    """A layer whose forward takes a condition, labels (B,) or vectors (B, K), beside its input."""


def apply(layer: nn.Module, input: Tensor, condition: Any) -> Tensor:
    """What the layer makes of its input, and of the condition if it takes one."""
    return layer(input, condition) if isinstance(layer, Conditional) else layer(input)


class Layers(nn.Sequential):
    """nn.Sequential that hands a condition to those layers that take one."""

    def forward(self, input: Tensor, condition: Any = None) -> Tensor:
        """One layer after the other."""
        for layer in self:
            input = apply(layer, input, condition)
        return input


class ConditionalBatchNorm(Conditional):
    """Batch norm whose gains and biases follow from the condition (Dumoulin et al. 2017; Miyato & Koyama 2018).

    normal: batch norm without gains and biases. gain, bias: modules from a condition to (B, C); 1 is added to the gain.
    """

    def __init__(self, normal: nn.Module, gain: nn.Module, bias: nn.Module):
        super().__init__()
        self.normal, self.gain, self.bias = normal, gain, bias

    def forward(self, input: Tensor, condition: Any) -> Tensor:
        """(B, C, …) → (B, C, …)."""
        normal = self.normal(input)
        gain, bias = (
            part(condition).to(normal.dtype)[(...,) + (None,) * (normal.dim() - 2)] for part in (self.gain, self.bias)
        )
        return torch.addcmul(normal + bias, normal, gain)


def batch_norm_by_class(
    classes: int, kind: type[nn.BatchNorm1d] | type[nn.BatchNorm2d] = nn.BatchNorm2d, spread: float = 0.0
) -> Norm:
    """Batch norm with a gain and a bias per class and channel, at first from N(1, spread²), and 0."""

    def norm(channels: int) -> nn.Module:
        gain, bias = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        nn.init.normal_(gain.weight, 0.0, spread)
        nn.init.zeros_(bias.weight)
        return ConditionalBatchNorm(kind(channels, affine=False), gain, bias)

    return norm


class LabelledLatents(nn.Module):
    """Latent vectors with an embedding of the class behind them, as long as they are."""

    def __init__(self, classes: int, length: int):
        super().__init__()
        self.embedding = nn.Embedding(classes, length)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """(B, length) → (B, 2 · length)."""
        return torch.cat([latents, self.embedding(labels).to(latents.dtype)], dim=1)


class Projection(nn.Module):
    """Adds to the logit the product of the features with a vector of the class (Miyato & Koyama 2018, equation 3)."""

    def __init__(self, classes: int, features: int, norm: str, initialise: Callable[[Tensor], Any]):
        super().__init__()
        self.embedding = nn.Embedding(classes, features)
        initialise(self.embedding.weight)
        spectral(self.embedding, norm)

    def forward(self, logits: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """Logits (B,) and features (B, F) → logits (B,)."""
        return logits + at_least_float32(self.embedding(labels) * features).sum(1)


class Classifier(nn.Module):
    """Class logits beside the logit (Odena, Olah & Shlens 2017, section 3)."""

    def __init__(self, classes: int, features: int, norm: str, initialise: Callable[[Tensor], Any]):
        super().__init__()
        self.linear = nn.Linear(features, classes)
        initialise(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        spectral(self.linear, norm)

    def forward(self, logits: Tensor, features: Tensor, labels: Tensor) -> Verdict:
        """Logits (B,) and features (B, F) → the verdict with classes (B, K). Labels are not used."""
        return Verdict(logits, classes=at_least_float32(self.linear(features)))


def label_head(
    conditioning: str,
    classes: int,
    features: int,
    norm: str,
    initialise: Callable[[Tensor], Any] = nn.init.xavier_uniform_,
) -> nn.Module | None:
    """What turns logits, features (B, features) and labels into a verdict, or None without conditioning."""
    heads = {"projection": Projection, "auxiliary-classifier": Classifier}
    return heads[conditioning](classes, features, norm, initialise) if conditioning != "none" else None
