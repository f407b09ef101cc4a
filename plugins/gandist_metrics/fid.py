"""FID: Fréchet distance in the features of Inception v3 (Heusel et al. 2017)."""

from __future__ import annotations

from typing import ClassVar

from gandist import Extractor
from gandist_metrics.frechet import Frechet
from gandist_metrics.inception import InceptionV3
from gandist_metrics.weights import Weights


class Fid(Frechet):
    """`frechet` in the features of inception-v3-tf, whatever the others compare in."""

    name: ClassVar[str] = "fid"
    scores: ClassVar[tuple[str, ...]] = ("fid",)
    floors: ClassVar[tuple[str, ...]] = ("fid",)
    title: ClassVar[str] = "FID"

    weights: Weights | None = None
    """As of inception-v3-tf."""

    def space(self, features: Extractor) -> Extractor:
        """The one of the config, if it is Inception; else Inception with its defaults and these weights."""
        return features if isinstance(features, InceptionV3) else InceptionV3(weights=self.weights)
