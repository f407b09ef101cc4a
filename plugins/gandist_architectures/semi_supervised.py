"""What the players of Salimans et al. 2016 for semi-supervised learning have in common."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from gandist import Facts, Verdict
from gandist_architectures.layers import at_least_float32


class GaussianNoise(nn.Module):
    """Adds normal noise of that standard deviation in training; from torch's global generator."""

    def __init__(self, deviation: float):
        super().__init__()
        self.deviation = deviation

    def forward(self, input: Tensor) -> Tensor:
        """The input, or the noisy input."""
        if not self.training or not self.deviation:
            return input
        return input + self.deviation * torch.randn_like(input)

    def extra_repr(self) -> str:
        """The standard deviation."""
        return f"deviation={self.deviation}"


def normed(layer: nn.Module, slope: float = 0.0) -> nn.Module:
    """A linear layer or convolution with weight norm (Salimans & Kingma 2016), initialised for what follows it: a ReLU,
    or a LeakyReLU of that slope."""
    nn.init.kaiming_normal_(layer.weight, a=slope)  # type: ignore[arg-type]
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return weight_norm(layer)


def verdict(features: Tensor, head: nn.Module) -> Verdict:
    """From features (B, F) and the layer of class logits: the logit of being real is their log-sum-exp."""
    classes = at_least_float32(head(features))
    return Verdict(classes.logsumexp(1), classes, at_least_float32(features))


def without_classes(name: str, facts: Facts) -> str | None:
    """Why there can be no classifier of such data, or None if there can."""
    if facts.classes > 1:
        return None
    return f"{name} is a classifier, and this data set has {'one class' if facts.classes else 'no labels'}"
