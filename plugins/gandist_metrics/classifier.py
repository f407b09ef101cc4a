"""Features of a small classifier that is trained on the labelled data set itself."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from gandist import Extractor, Source, fitted_classifier


class ClassifierFeatures(Extractor):
    """The hidden layer, 64 wide, of a small classifier that gandist trains on the labelled data set; no download."""

    name: ClassVar[str] = "classifier"
    knows_classes: ClassVar[bool] = True
    own_classes: ClassVar[bool] = True

    def unfit(self, source: Source) -> str | None:
        """It needs labelled images, of at least two classes."""
        facts = source.facts
        if not facts.images:
            return "needs images, the data set has points; use modes, or features: pixels"
        if facts.classes < 2:
            return (
                "needs a data set with at least 2 classes, to train its classifier on; this one has no such labels "
                "(sort the images into class folders, use features: pixels, or set evaluate.every to 0)"
            )
        return None

    def build(self, source: Source, device: torch.device) -> nn.Module:
        """Trained, or read from the cache."""
        return fitted_classifier(source, device)
