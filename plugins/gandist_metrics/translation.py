"""How near translations of held-out images come to the truth: L1 and structural similarity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gandist import ConfigError, Examination, Examined, Loss, Source, Translates, as_played

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03


def ssim(images: Tensor, others: Tensor) -> Tensor:
    """Mean structural similarity of images (B, C, H, W) in [0, 1], float64 (B,), 1 for equal ones (Wang et al. 2004,
    equation 13): a Gaussian window of 11×11 and σ = 1.5, where it lies wholly inside; the mean over channels."""
    images, others = images.double(), others.double()
    offsets = torch.arange(WINDOW, dtype=torch.float64, device=images.device) - WINDOW // 2
    line = torch.exp(-0.5 * (offsets / SIGMA).square())
    line = line / line.sum()
    channels = images.shape[1]
    down, across = (line.view(shape).expand(channels, 1, *shape[2:]) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))

    def mean(values: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(values, down, groups=channels), across, groups=channels)

    x, y = mean(images), mean(others)
    # Never negative but for rounding.
    xx, yy = (mean(v.square()) - m.square() for v, m in ((images, x), (others, y)))
    xy = mean(images * others) - x * y
    c1, c2 = K1**2, K2**2
    likeness = (2 * x * y + c1) * (2 * xy + c2) / ((x.square() + y.square() + c1) * (xx + yy + c2))
    return likeness.mean((1, 2, 3))


class _Compared(Examination):
    """Compares translations of held-out images with their truth, both as 8-bit images."""

    to: Literal["a", "b"] = "b"
    """The domain that is translated to."""

    def unfit(self, source: Source) -> str | None:
        """Data without held-out pairs."""
        held = source.held_out()
        if held is not None and held.facts.images and {"a", "b"} <= set(held.entries):
            return None
        return "needs held-out pairs, entries a and b, to compare translations with; this data set has none"

    def unable(self, loss: Loss) -> str | None:
        """Losses that do not translate to that domain."""
        if isinstance(loss, Translates) and self.to in loss.targets:
            return None
        return f"compares translations to {self.to}, which {loss.name} does not make; leave it out"

    def pairs(self, rows: Mapping[str, Tensor], examined: Examined) -> tuple[Tensor, Tensor]:
        """Translations and truths, (B, C, H, W) in [0, 1]."""
        loss = examined.loss
        if (reason := self.unable(loss)) is not None or not isinstance(loss, Translates):
            raise ConfigError(f"evaluate.metrics: {self.name} {reason}")
        given = as_played(rows["a" if self.to == "b" else "b"])
        made = loss.translate(examined.players, given, self.to).float()
        return made.add(1).mul(127.5).round().clamp(0, 255).div(255), rows[self.to].float().div(255)


class L1(_Compared):
    """Mean absolute difference of translated held-out images from the truth, in shares of the range from 0 to 1."""

    name: ClassVar[str] = "l1"
    scores: ClassVar[tuple[str, ...]] = ("l1", "l1_identity")

    def answers(self, rows: Mapping[str, Tensor], examined: Examined) -> dict[str, Tensor]:
        """Of each image, and what leaving it as it is would give."""
        made, truth = self.pairs(rows, examined)
        given = rows["a" if self.to == "b" else "b"].float().div(255)
        return {"l1": (made - truth).abs().mean((1, 2, 3)), "l1_identity": (given - truth).abs().mean((1, 2, 3))}

    def grade(self, answers: Mapping[str, Tensor]) -> dict[str, float]:
        """Means over all held-out images."""
        return {name: float(values.double().mean()) for name, values in answers.items()}


class Ssim(_Compared):
    """Structural similarity of translated held-out images and the truth, 1 for equal ones (Wang et al. 2004)."""

    name: ClassVar[str] = "ssim"
    scores: ClassVar[tuple[str, ...]] = ("ssim", "ssim_identity")

    def unfit(self, source: Source) -> str | None:
        """Data without held-out pairs, or with images smaller than the window."""
        if (reason := super().unfit(source)) is not None:
            return reason
        return f"needs images of at least {WINDOW} pixels a side" if min(source.facts.shape[1:]) < WINDOW else None

    def answers(self, rows: Mapping[str, Tensor], examined: Examined) -> dict[str, Tensor]:
        """Of each image, and what leaving it as it is would give."""
        made, truth = self.pairs(rows, examined)
        given = rows["a" if self.to == "b" else "b"].float().div(255)
        return {"ssim": ssim(made, truth), "ssim_identity": ssim(given, truth)}

    def grade(self, answers: Mapping[str, Tensor]) -> dict[str, float]:
        """Means over all held-out images."""
        return {name: float(values.double().mean()) for name, values in answers.items()}
