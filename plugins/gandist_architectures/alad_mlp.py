"""Dense players for ALAD on points, such as the rows of a table."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from gandist import Architecture, Facts
from gandist_architectures.alad import Dropped, JointJudge, Norm, PairJudge, hidden
from gandist_architectures.layers import at_least_float32
from gandist_architectures.mlp import Generator, dense


class Encoder(nn.Module):
    """Points to latents."""

    def __init__(self, inputs: int, width: int, depth: int, latent: int, norm: str):
        super().__init__()
        layers = [layer for number in range(depth) for layer in hidden(width if number else inputs, width, norm, 0.0)]
        self.body = nn.Sequential(*layers, nn.Linear(width, latent))

    def forward(self, points: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, D) → (B, latent). Labels are not used."""
        return at_least_float32(self.body(points))


class AladMlp(Architecture):
    """Dense generator, encoder and three discriminators for ALAD on points (Zenati et al. 2018).

    After the authors' networks for KDD (alad/kdd_utilities.py), without their batch norm, and with the spectral norm
    that theirs for images have.
    """

    name: ClassVar[str] = "alad-mlp"

    width: int = Field(128, ge=4)
    """Units of a hidden layer; D_zz has a quarter of them."""
    depth: int = Field(2, ge=1)
    """Hidden layers of generator and encoder."""
    judge_depth: int = Field(1, ge=1)
    """Hidden layers of D_xx, the last of which the score is taken from."""
    latent: int = Field(32, ge=1)
    """Length of the latent vectors."""
    norm: Norm = "spectral"
    dropout: Dropped = 0.0

    def refuse(self, facts: Facts) -> str | None:
        """Images."""
        return f"{self.name} takes points, the data set has images: take alad-conv" if facts.images else None

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Generator, encoder, and discriminators `xz`, `xx` and `zz`."""
        (dimensions,) = facts.shape
        width, make = self.width, (self.norm, self.dropout)
        xx = [layer for n in range(self.judge_depth) for layer in hidden(width if n else 2 * dimensions, width, *make)]
        small = width // 4
        xz = JointJudge(
            nn.Sequential(*hidden(dimensions, width, *make)),
            nn.Sequential(*hidden(self.latent, width, *make)),
            nn.Sequential(*hidden(2 * width, width, *make)),
            width,
        )
        return {
            "generator": Generator(dense(self.latent, width, self.depth, dimensions, "relu"), self.latent, 1.0),
            "encoder": Encoder(dimensions, width, self.depth, self.latent, self.norm),
            "discriminators": nn.ModuleDict(
                {
                    "xz": xz,
                    "xx": PairJudge(nn.Sequential(*xx), width),
                    "zz": PairJudge(nn.Sequential(*hidden(2 * self.latent, small, *make)), small),
                }
            ),
        }
