"""torch's optimizers by name and fields."""

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from gandist import Anneal, Optimizer, hookimpl


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), fused."""

    name: ClassVar[str] = "adam"

    betas: tuple[float, float] = (0.5, 0.999)
    """Decay of the first and second moment; GANs use a low first one (Radford et al. 2016, section 4)."""
    anneal_beta2: Anneal | None = None
    """How the decay of the second moment changes with the images seen; null keeps it."""
    eps: float = Field(1e-8, ge=0)
    """Added to the root of the second moment."""
    weight_decay: float = Field(0.0, ge=0)
    """L2 penalty in the gradient."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """torch.optim.Adam."""
        return torch.optim.Adam(
            parameters, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=True
        )

    def settings(self, images: int) -> dict[str, Any]:
        """The betas of the moment."""
        if self.anneal_beta2 is None:
            return {}
        return {"betas": (self.betas[0], self.anneal_beta2.value(self.betas[1], images))}


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), fused."""

    name: ClassVar[str] = "adamw"

    weight_decay: float = Field(0.01, ge=0)
    """Decay of the weights, times the learning rate."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """torch.optim.AdamW."""
        return torch.optim.AdamW(
            parameters, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=True
        )


class RMSprop(Optimizer):
    """RMSprop, as WGAN with weight clipping uses it."""

    name: ClassVar[str] = "rmsprop"

    alpha: float = Field(0.99, ge=0.0, lt=1.0)
    """Decay of the second moment."""
    eps: float = Field(1e-8, ge=0)
    """Added to the root of the second moment."""
    momentum: float = Field(0.0, ge=0.0, lt=1.0)
    """Momentum factor."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """torch.optim.RMSprop."""
        return torch.optim.RMSprop(parameters, lr=self.lr, alpha=self.alpha, eps=self.eps, momentum=self.momentum)


class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum."""

    name: ClassVar[str] = "sgd"

    momentum: float = Field(0.0, ge=0.0, lt=1.0)
    """Momentum factor."""
    nesterov: bool = False
    """Nesterov momentum; needs a momentum above 0."""
    weight_decay: float = Field(0.0, ge=0)
    """L2 penalty in the gradient."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """torch.optim.SGD."""
        return torch.optim.SGD(
            parameters, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay
        )


@hookimpl
def gandist_optimizers() -> list[type[Optimizer]]:
    """All of this package."""
    return [Adam, AdamW, RMSprop, SGD]
