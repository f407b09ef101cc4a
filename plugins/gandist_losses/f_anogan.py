"""f-AnoGAN's second stage: an encoder that answers what latents make an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from gandist import Facts, Loss, Turn
from gandist_losses.residuals import Blur, again, even, residual_map


class FAnoGan(Loss):
    """An encoder learns to undo a trained generator; what the two cannot make again is anomalous (Schlegl et al. 2019).

    First a GAN is trained on normal images, in the paper with wgan-gp. This is the second stage: `start` takes its
    generator and discriminator, which stay as they are. The encoder's loss, izi_f (section 2.2), is also the score
    (section 2.3).
    """

    name: ClassVar[str] = "f-anogan"
    turns: ClassVar[tuple[str, ...]] = ("encoder",)
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {"generator": ("draw",), "discriminator": ("features",)}

    kappa: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """κ, the weight of the residual of the discriminator's features beside that of the pixels; 1 in the paper."""
    blur: Blur = 5

    def refuse(self, facts: Facts) -> str | None:
        """Points, and a square without a middle."""
        return even(self.blur) if facts.images else "works on images"

    def encoder(self, turn: Turn) -> dict[str, Tensor]:
        """E |x - G(E(x))|² / n + κ · E |f(x) - f(G(E(x)))|² / n_d, n and n_d the numbers of pixels and of features."""
        pixels, features = self.residuals(turn.players, turn.real)
        return {"total": (pixels + self.kappa * features).mean(), "pixels": pixels.mean(), "features": features.mean()}

    def residuals(self, players: Mapping[str, nn.Module], images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared differences of the pixels and of the features of each image and its reconstruction, (B,)."""
        made = again(players, images)
        judge = players["discriminator"].features
        features = judge(images) - judge(made)  # type: ignore[operator]
        return (
            (images - made).square().flatten(1).mean(1),
            features.to(images.dtype).square().flatten(1).mean(1),
        )

    def anomaly(self, players: Mapping[str, nn.Module], samples: Tensor) -> Tensor:
        """Both residuals of each image, the second weighted by κ, (B,)."""
        pixels, features = self.residuals(players, samples)
        return pixels + self.kappa * features

    def heatmap(self, players: Mapping[str, nn.Module], images: Tensor) -> Tensor:
        """Absolute differences of the pixels, mean over channels and over `blur` × `blur` neighbours, (B, H, W)."""
        return residual_map(images, again(players, images), self.blur)
