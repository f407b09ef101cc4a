"""Inception Score (Salimans et al. 2016, section 4)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from gandist import Compared, ConfigError, Extractor, Metric


class InceptionScore(Metric):
    """exp E KL(p(class | sample) ‖ p(class)): sure of each sample's class, and all classes there; needs no real ones.

    The classes are those of the feature space: of ImageNet with inception-v3-tf, the data set's own with classifier.
    """

    name: ClassVar[str] = "inception-score"
    scores: ClassVar[tuple[str, ...]] = ("inception_score", "inception_score_error")
    floors: ClassVar[tuple[str, ...]] = ("inception_score",)
    gathers: ClassVar[tuple] = ("logits",)

    splits: int = Field(default=10, ge=1, le=1000)
    """Parts of the samples that are scored by themselves; the score is their mean, the error their deviation."""

    def space(self, features: Extractor) -> Extractor:
        """Any that knows classes."""
        if not features.knows_classes:
            raise ConfigError(f"{features.name} knows no classes; use features: classifier or inception-v3-tf")
        return features

    def compare(self, compared: Compared) -> dict[str, float]:
        """From 1 to the number of classes."""
        logits = compared.fake.logits
        assert logits is not None
        share = logits.double().softmax(1)
        total, splits = len(share), min(self.splits, len(share))
        bounds = [(part * total // splits, (part + 1) * total // splits) for part in range(splits)]
        found = torch.stack([_score(share[start:stop]) for start, stop in bounds])
        return {"inception_score": float(found.mean()), "inception_score_error": float(found.std(correction=0))}


def _score(share: torch.Tensor) -> torch.Tensor:
    every = share.mean(0)
    return (torch.xlogy(share, share) - torch.xlogy(share, every)).sum(1).mean().exp()
