"""CUT: translation in one direction without pairs, held to its input by contrast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gandist import Loss, Turn
from gandist_losses.translation import ENTRIES, part, squares, strips, translated


class Cut(Loss):
    """Least squares; and of all patches of the input, that at the same place is the nearest (Park et al. 2020, eq. 5).

    Reads "a" and "b", which need not be pairs.
    """

    name: ClassVar[str] = "cut"
    critic: ClassVar[bool] = True
    entries: ClassVar[Mapping[str, str]] = ENTRIES
    targets: ClassVar[tuple[str, ...]] = ("b",)
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {"generator": ("to_b", "heads"), "discriminator": ("on_b",)}

    nce: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Weight λ of the contrastive term; the paper's FastCUT has 10, without `identity`."""
    identity: bool = True
    """Whether images of B are also held to themselves, half of the term's weight; keeps colours."""
    patches: int = Field(default=256, ge=2)
    """Places of an image that are compared at each depth, at most as many as there are."""
    temperature: float = Field(default=0.07, gt=0, allow_inf_nan=False)
    """τ, by which similarities are divided."""

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """½ E (D(b) - 1)² + ½ E D(G(a))²."""
        with torch.no_grad():
            fake = translated(turn.players, turn["a"], "b").to(turn.dtype)
        critic = part(turn.players["discriminator"], "on_b")
        real = turn.judge(turn["b"], critic=critic, name="real").logits
        made = turn.judge(fake, critic=critic, name="fake").logits
        return {"total": 0.5 * (squares(real, 1.0) + squares(made, 0.0))}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """E (D(G(a)) - 1)² + λ PatchNCE(a, G(a)), or λ/2 (PatchNCE(a, G(a)) + PatchNCE(b, G(b)))."""
        a, b, count = turn["a"], turn["b"], len(turn)
        given = torch.cat([a, b]) if self.identity else a
        made = translated(turn.players, given, "b").to(turn.dtype)
        verdict = turn.judge(made[:count], critic=part(turn.players["discriminator"], "on_b"))
        terms = {"adversarial": squares(verdict.logits, 1.0), "nce": self._contrast(turn, a, made[:count])}
        total = terms["nce"]
        if self.identity:
            terms["nce_identity"] = self._contrast(turn, b, made[count:])
            total = 0.5 * (total + terms["nce_identity"])
        return {"total": terms["adversarial"] + self.nce * total, **terms}

    def _contrast(self, turn: Turn, given: Tensor, made: Tensor) -> Tensor:
        """PatchNCE (equations 3 and 4): the mean over depths of the cross-entropy of finding each patch of `made` among
        those of `given` in the same image, which take no gradient."""
        to_b, heads = (part(turn.players["generator"], name) for name in ("to_b", "heads"))
        asked = to_b.features(made)
        places = [self._places(turn, maps) for maps in asked]
        queries = heads([_at(maps, place) for maps, place in zip(asked, places, strict=True)])
        with torch.no_grad():
            known = to_b.features(given)
            keys = heads([_at(maps, place) for maps, place in zip(known, places, strict=True)])
        return torch.stack(
            [contrast(query, key, self.temperature) for query, key in zip(queries, keys, strict=True)]
        ).mean()

    def _places(self, turn: Turn, maps: Tensor) -> Tensor:
        """Different places of each row's maps (B, C, H, W), as indices (B, P) of flattened maps."""
        total = maps.shape[2] * maps.shape[3]
        return turn.noise("patches").uniform(len(maps), total).topk(min(self.patches, total)).indices

    def translate(self, players: Mapping[str, nn.Module], images: Tensor, to: str) -> Tensor:
        """See `Translates`."""
        return translated(players, images, to)

    def show(self, players: Mapping[str, nn.Module], rows: Mapping[str, Tensor]) -> Tensor:
        """Input, translation, and the truth where it is known; see `Shows`."""
        return strips(players, rows, self.targets)


def contrast(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """InfoNCE of unit vectors (B, P, D): query p of an image belongs to its key p, the image's other keys do not."""
    likeness = (queries @ keys.transpose(1, 2)).flatten(0, 1) / temperature
    wanted = torch.arange(queries.shape[1], device=queries.device).repeat(len(queries))
    return cross_entropy(likeness.to(torch.promote_types(likeness.dtype, torch.float32)), wanted)


def _at(maps: Tensor, places: Tensor) -> Tensor:
    """What maps (B, C, H, W) hold at places (B, P): (B, P, C)."""
    flat = maps.flatten(2).transpose(1, 2)
    return flat.gather(1, places[:, :, None].expand(-1, -1, flat.shape[2]))
