"""ALAD: a generator and an encoder that undo each other, and what they do not undo is anomalous."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gandist import Facts, Loss, Turn
from gandist_losses.residuals import Blur, again, even, residual_map
from gandist_losses.translation import part


class Alad(Loss):
    """Generator and encoder learn to undo each other; what they do not undo is anomalous (Zenati et al. 2018).

    One player holds three discriminators: D_xz tells (x, E(x)) from (G(z), z), D_xx tells (x, x) from (x, G(E(x))), and
    D_zz tells (z, z) from (z, E(G(z))). As in the authors' code (alad/run.py), generator and encoder want the answers
    exchanged, where the paper has them minimise what the discriminators maximise; here they move one after the other.
    The score is the L1 distance between what D_xx sees in (x, x) and in (x, G(E(x))).
    """

    name: ClassVar[str] = "alad"
    turns: ClassVar[tuple[str, ...]] = ("discriminators", "generator", "encoder")
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "generator": ("draw",),
        "discriminators": ("xz", "xx", "zz"),
    }

    blur: Blur = 5

    def refuse(self, facts: Facts) -> str | None:
        """A square without a middle."""
        return even(self.blur) if facts.images else None

    def discriminators(self, turn: Turn) -> dict[str, Tensor]:
        """For each of the three E softplus(-D) over the pairs named first above, and E softplus(D) over the others."""
        judged = {
            "xz": (
                self.on_both(turn, turn.real, encoded(turn, turn.real)),
                self.on_both(turn, turn.fake, turn.latents),
            ),
            "xx": (self.on_samples(turn, turn.real), self.on_samples(turn, again(turn.players, turn.real))),
            "zz": (self.on_latents(turn, turn.latents), self.on_latents(turn, encoded(turn, turn.fake))),
        }
        terms = {name: softplus(-one).mean() + softplus(other).mean() for name, (one, other) in judged.items()}
        return {"total": terms["xz"] + terms["xx"] + terms["zz"], **terms}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """E softplus(-D_xz(G(z), z)) + E softplus(-D_xx(x, G(E(x)))) + E softplus(-D_zz(z, E(G(z))))."""
        return self.together(turn, softplus(-self.on_both(turn, turn.fake, turn.latents)).mean())

    def encoder(self, turn: Turn) -> dict[str, Tensor]:
        """E softplus(D_xz(x, E(x))), and the generator's second and third term."""
        return self.together(turn, softplus(self.on_both(turn, turn.real, encoded(turn, turn.real))).mean())

    def together(self, turn: Turn, xz: Tensor) -> dict[str, Tensor]:
        """The terms of generator and encoder, of which D_xz's is their own and both share the others."""
        xx = softplus(-self.on_samples(turn, again(turn.players, turn.real))).mean()
        zz = softplus(-self.on_latents(turn, encoded(turn, turn.fake))).mean()
        return {"total": xz + xx + zz, "xz": xz, "xx": xx, "zz": zz}

    def on_both(self, turn: Turn, samples: Tensor, latents: Tensor) -> Tensor:
        """D_xz's logits, (B,)."""
        judge = part(turn.players["discriminators"], "xz")
        return turn.judge(samples, critic=lambda seen, _: judge(seen, latents)).logits

    def on_samples(self, turn: Turn, again: Tensor) -> Tensor:
        """D_xx's logits of the real samples beside `again`, (B,)."""
        pairs = torch.cat([turn.real, again], 1)
        return turn.judge(pairs, critic=part(turn.players["discriminators"], "xx")).logits

    def on_latents(self, turn: Turn, again: Tensor) -> Tensor:
        """D_zz's logits of the latents beside `again`, (B,)."""
        pairs = torch.cat([turn.latents, again], 1)
        return part(turn.players["discriminators"], "zz")(pairs).logits.to(turn.dtype)

    def anomaly(self, players: Mapping[str, nn.Module], samples: Tensor) -> Tensor:
        """|f_xx(x, x) - f_xx(x, G(E(x)))|₁, (B,), f_xx being what D_xx's last layer sees."""
        judge = part(players["discriminators"], "xx")
        own, other = (judge(torch.cat([samples, one], 1)).features for one in (samples, again(players, samples)))
        return (own - other).abs().flatten(1).sum(1).to(samples.dtype)

    def heatmap(self, players: Mapping[str, nn.Module], images: Tensor) -> Tensor:
        """Absolute differences of the pixels of x and G(E(x)), mean over channels and over `blur` × `blur` neighbours,
        (B, H, W)."""
        return residual_map(images, again(players, images), self.blur)


def encoded(turn: Turn, samples: Tensor) -> Tensor:
    """E(samples), (B, latent)."""
    return turn.players["encoder"](samples).to(turn.dtype)
