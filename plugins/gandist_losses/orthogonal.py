"""Rows of weights that point different ways."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gandist import Regularizer, Turn


class Orthogonal(Regularizer):
    """Penalises products of different rows of each weight matrix (Brock et al. 2019, equation 3).

    It leaves the rows' norms free. Convolutions count as matrices of one row per output channel; embeddings, gains and
    biases are left alone.
    """

    name: ClassVar[str] = "orthogonal"

    weight: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    """Beta, 1e-4 in the paper."""
    player: Literal["generator", "discriminator", "both"] = "generator"
    """Whose weights; the paper regularises the generator."""

    def method(self, role: str) -> object | None:
        """The term of a player that `player` names."""
        return self._term if role in self._whose else None

    @property
    def _whose(self) -> tuple[str, ...]:
        return ("generator", "discriminator") if self.player == "both" else (self.player,)

    def _term(self, turn: Turn) -> Tensor:
        """Σ |W Wᵀ ⊙ (1 - I)|² over the player's matrices."""
        total = torch.zeros((), device=turn.device, dtype=turn.dtype)
        for module in turn.players[turn.role].modules():
            if isinstance(module, nn.Embedding):
                continue
            for parameter in module.parameters(recurse=False):
                if parameter.dim() >= 2:
                    rows = parameter.flatten(1)
                    gram = rows @ rows.T
                    total = total + (gram - gram.diagonal().diag()).square().sum()
        return total
