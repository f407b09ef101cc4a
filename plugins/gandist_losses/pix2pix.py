"""pix2pix: translation learnt from pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from gandist import Loss, Turn
from gandist_losses.translation import ENTRIES, part, strips, translated


class Pix2Pix(Loss):
    """Near the truth in L1, and with it a pair that a critic of patches takes for real (Isola et al. 2017, equation 4).

    Reads "a" and "b", which must be pairs. The discriminator sees the channels of both together.
    """

    name: ClassVar[str] = "pix2pix"
    entries: ClassVar[Mapping[str, str]] = ENTRIES
    pairs: ClassVar[bool] = True
    targets: ClassVar[tuple[str, ...]] = ("b",)
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {"generator": ("to_b",), "discriminator": ("on_b",)}

    l1: float = Field(default=100.0, ge=0, allow_inf_nan=False)
    """Weight λ of the L1 distance to the truth."""

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """½ E[-log D(a, b)] + ½ E[-log(1 - D(a, G(a)))] (section 3.3)."""
        with torch.no_grad():
            fake = translated(turn.players, turn["a"], "b").to(turn.dtype)
        critic = part(turn.players["discriminator"], "on_b")
        real = turn.judge(torch.cat([turn["a"], turn["b"]], 1), critic=critic, name="real").logits
        made = turn.judge(torch.cat([turn["a"], fake], 1), critic=critic, name="fake").logits
        return {"total": 0.5 * (softplus(-real).mean() + softplus(made).mean())}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """E[-log D(a, G(a))] + λ E |b - G(a)|."""
        fake = translated(turn.players, turn["a"], "b").to(turn.dtype)
        critic = part(turn.players["discriminator"], "on_b")
        made = turn.judge(torch.cat([turn["a"], fake], 1), critic=critic).logits
        adversarial, l1 = softplus(-made).mean(), (turn["b"] - fake).abs().mean()
        return {"total": adversarial + self.l1 * l1, "adversarial": adversarial, "l1": l1}

    def translate(self, players: Mapping[str, nn.Module], images: Tensor, to: str) -> Tensor:
        """See `Translates`."""
        return translated(players, images, to)

    def show(self, players: Mapping[str, nn.Module], rows: Mapping[str, Tensor]) -> Tensor:
        """Input, translation, truth; see `Shows`."""
        return strips(players, rows, self.targets)
