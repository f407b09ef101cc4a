"""What the losses of image-to-image methods share: least squares on patches, and what a trained translator is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

ENTRIES: Mapping[str, str] = dict.fromkeys(
    ("a", "b"), "choose a data set of two domains, such as unpaired-folders or paired-folders"
)
"""What a batch must have, and where it comes from."""


def squares(logits: Tensor, wanted: float) -> Tensor:
    """E (D(x) - wanted)², over samples and patches (Mao et al. 2017, equation 2)."""
    return (logits - wanted).square().mean()


def part(player: nn.Module, name: str) -> Any:
    """One of the networks of a player, as the loss's `needs` names it."""
    return getattr(player, name)


def translated(players: Mapping[str, nn.Module], images: Tensor, to: str) -> Tensor:
    """Images (B, C, H, W) in [-1, 1] as the generator turns them into the domain `to`, "a" or "b"."""
    return part(players["generator"], f"to_{to}")(images)


def strips(players: Mapping[str, nn.Module], rows: Mapping[str, Tensor], targets: tuple[str, ...]) -> Tensor:
    """Held-out images, each beside its translation: (B, C, H, n·W) in [-1, 1].

    targets: the domains that the generator knows. Where it also knows the way back, the third image is what comes of
    it. Where only one way is known and the truth is there, the third image is the truth.
    """
    shown = []
    for to in targets:
        given = rows.get("a" if to == "b" else "b")
        if given is None:
            continue
        strip = [given, translated(players, given, to)]
        if len(targets) > 1:
            strip.append(translated(players, strip[-1], "a" if to == "b" else "b"))
        elif to in rows:
            strip.append(rows[to])
        shown.append(torch.cat(strip, 3))
    return torch.cat(shown)
