"""What the networks of ALAD share: discriminators of pairs."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gandist import Verdict
from gandist_architectures.layers import Dropout, LeakyReLU, at_least_float32
from gandist_architectures.spectral import spectral

_NORM = "Norm of the weights of the discriminators and the encoder, of all but their last layers."
Norm = Annotated[Literal["spectral", "none"], Field(description=_NORM)]
_DROPPED = "Share of the discriminators' units that training leaves out at random; 0 trains on any workers alike."
Dropped = Annotated[float, Field(ge=0.0, lt=1.0, description=_DROPPED)]


def hidden(inputs: int, width: int, norm: str, dropout: float) -> list[nn.Module]:
    """A dense layer, its activation, and dropout if there is to be some."""
    layers: list[nn.Module] = [spectral(nn.Linear(inputs, width), norm), LeakyReLU(0.2)]
    return [*layers, Dropout(dropout)] if dropout else layers


class PairJudge(nn.Module):
    """Tells (x, x) from (x, something else): D_xx and D_zz."""

    def __init__(self, body: nn.Module, features: int):
        super().__init__()
        self.body, self.head = body, nn.Linear(features, 1)

    def forward(self, pairs: Tensor, labels: Tensor | None = None) -> Verdict:
        """Both of a pair behind each other in dimension 1, (B, 2·C, …) → logits (B,), features (B, F). Labels do not
        count."""
        features = self.body(pairs).flatten(1)
        return Verdict(at_least_float32(self.head(features)).squeeze(1), features=features)


class JointJudge(nn.Module):
    """Tells samples with their latents from latents with their samples: D_xz."""

    def __init__(self, of_samples: nn.Module, of_latents: nn.Module, of_both: nn.Module, features: int):
        super().__init__()
        self.of_samples, self.of_latents, self.of_both = of_samples, of_latents, of_both
        self.head = nn.Linear(features, 1)

    def forward(self, samples: Tensor, latents: Tensor) -> Tensor:
        """(B, C, …) and (B, latent) → logits (B,)."""
        sides = [self.of_samples(samples).flatten(1), self.of_latents(latents)]
        return at_least_float32(self.head(self.of_both(torch.cat(sides, 1)))).squeeze(1)
