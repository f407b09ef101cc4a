"""Modes of stacked digits (Metz et al. 2017; by the protocol of Lin et al. 2018, section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gandist import Extractor, Metric, Real, Scored, Source, fitted_classifier

_BATCH = 1000


def _single(source: Source) -> Source | None:
    """The source of single grey images, if these are stacks of three of them."""
    single: Any = getattr(source, "source", None)
    stacked = isinstance(single, Source) and single.facts.classes > 1
    return single if stacked and source.facts.classes == single.facts.classes**3 else None


class PlanesNetwork(nn.Module):
    """A classifier of grey images that looks at each of three channels by itself."""

    def __init__(self, classifier: nn.Module):
        super().__init__()
        self.classifier = classifier

    @property
    def about(self) -> dict[str, float]:
        """What joins the protocol."""
        return {"classifier_accuracy": self.classifier.accuracy}  # type: ignore[dict-item]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits of the three channels, side by side: (B, 3·64) and (B, 3·classes)."""
        features, logits = self.classifier(images.flatten(0, 1)[:, None])
        return features.view(len(images), -1), logits.view(len(images), -1)


class Planes(Extractor):
    """A classifier of the grey images that `stacked` is made of, on each channel; features and logits side by side."""

    name: ClassVar[str] = "planes"
    knows_classes: ClassVar[bool] = True

    def unfit(self, source: Source) -> str | None:
        """It is for stacks of three."""
        return None if _single(source) is not None else "needs the data set stacked, whose channels are single images"

    def build(self, source: Source, device: torch.device) -> nn.Module:
        """The classifier is trained on single images, or read from the cache."""
        single = _single(source)
        assert single is not None
        return PlanesNetwork(fitted_classifier(single, device))


class StackedModes(Metric):
    """Of the thousand modes of `stacked`, how many the samples have, and KL of the samples' modes from the data's."""

    name: ClassVar[str] = "stacked-modes"
    scores: ClassVar[tuple[str, ...]] = ("stacked_modes", "stacked_modes_all", "stacked_kl")
    floors: ClassVar[tuple[str, ...]] = ("stacked_modes", "stacked_kl")

    def space(self, features: Extractor) -> Extractor:
        """The three channels."""
        return features if isinstance(features, Planes) else Planes()

    def statistics(self, real: Real) -> dict[str, Tensor]:
        """The modes' true shares, (classes³,): channels are drawn independently."""
        single = _single(real.source)
        assert single is not None
        labels = [single.read(rows.tolist())["labels"] for rows in torch.arange(len(single)).split(_BATCH)]
        share = torch.bincount(torch.cat(labels), minlength=single.facts.classes).double() / len(single)
        return {"shares": (share[:, None, None] * share[:, None] * share).flatten()}

    def sums(self, batch: Scored, known: Mapping[str, Tensor]) -> Tensor:
        """Samples per mode."""
        assert batch.logits is not None
        modes = len(known["shares"])
        classes = round(modes ** (1 / 3))
        seen = batch.logits.view(len(batch.logits), 3, classes).argmax(2)
        weights = torch.tensor([classes**2, classes, 1], device=seen.device)
        return torch.bincount((seen * weights).sum(1), minlength=modes).double()

    def result(self, sums: Tensor, count: int, known: Mapping[str, Tensor]) -> dict[str, float]:
        """`stacked_kl` is in nats; drawn at random, few samples have some of it, as `stacked_kl_real` shows."""
        share, true = sums / count, known["shares"]
        divergence = (torch.xlogy(share, share) - torch.xlogy(share, true)).sum()
        return {
            "stacked_modes": float((sums > 0).sum()),
            "stacked_modes_all": float((true > 0).sum()),
            "stacked_kl": max(0.0, float(divergence)),
        }
