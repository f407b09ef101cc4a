"""Equal steps in the styles make equal changes of the image."""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gandist import Facts, Memory, Regularizer, Seen, Turn


class PathLength(Regularizer):
    """Keeps the image's change for a step in the styles near its moving mean (Karras et al. 2020, section 3.2, eq. 4).

    The length is |Jᵀy| for an image y of normal noise, per layer, root mean square over layers. The mean it is
    compared with is the one from before the turn. Every row is used, where the paper's code takes half the batch.
    """

    name: ClassVar[str] = "path-length"
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {"generator": ("map", "synthesize")}

    weight: float = Field(default=2.0, ge=0, allow_inf_nan=False)
    """2 in the paper's code."""
    every: int = Field(default=4, ge=1)
    """4 in the paper: every fourth turn of the generator, four times as heavy."""
    decay: float = Field(default=0.99, ge=0.0, lt=1.0)
    """What stays of the mean length after a turn that measures it."""

    def memory(self, facts: Facts) -> dict[str, Tensor]:
        """The moving mean of the lengths."""
        return {"mean": torch.zeros((), dtype=torch.float64)}

    def generator(self, turn: Turn) -> Tensor:
        """E (|Jᵀy| - a)²."""
        generator = turn.players["generator"]
        styles = generator.map(turn.latents, turn.labels)  # type: ignore[operator]
        images: Tensor = generator.synthesize(styles)  # type: ignore[operator]
        spread = math.sqrt(math.prod(images.shape[2:]))
        noise = turn.noise(self.key).normal(len(turn), *images.shape[1:]) / spread
        (slope,) = torch.autograd.grad((images * noise).sum(), styles, create_graph=True)
        lengths = slope.to(turn.dtype).square().sum(2).mean(1).sqrt()
        turn.remember(self.key, lengths)
        return (lengths - turn.memory(self).mean.to(turn.dtype)).square().mean()

    def update(self, memory: Memory, seen: Seen) -> None:
        """Moves the mean towards that of the turn's global batch."""
        if self.key in seen:
            memory.mean.lerp_(seen[self.key].double().mean(), 1.0 - self.decay)
