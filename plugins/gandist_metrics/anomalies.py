"""How well held-out anomalies stand out from held-out normal samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from gandist import (
    ConfigError,
    Examination,
    Examined,
    Facts,
    FindsAnomalies,
    Loss,
    ShowsAnomalies,
    Source,
    as_played,
    auroc,
    average_precision,
)
from gandist_metrics.roc import drawn, roc


class Anomalies(Examination):
    """Area under the ROC curve, and average precision, of the loss's anomaly score on held-out samples.

    The first is the chance that an anomalous sample scores higher than a normal one, 0.5 for a score that knows
    nothing. The second is also low where few of the highest scores are anomalies, which is what counts when they are
    rare.
    """

    name: ClassVar[str] = "anomalies"
    scores: ClassVar[tuple[str, ...]] = ("auroc", "average_precision")
    aliases: ClassVar[tuple[str, ...]] = ("auroc", "average-precision")

    def unfit(self, source: Source) -> str | None:
        """Without held-out samples, or if nothing says which of them are anomalous."""
        return super().unfit(source) or _lacking(source, "anomalous", "that say whether they are anomalous")

    def unable(self, loss: Loss) -> str | None:
        """Losses without a score."""
        return None if isinstance(loss, FindsAnomalies) else f"needs a loss that scores anomalies, {loss.name} does not"

    def answers(self, rows: Mapping[str, Tensor], examined: Examined) -> dict[str, Tensor]:
        """The score and the truth of each sample."""
        loss = examined.loss
        if not isinstance(loss, FindsAnomalies):
            raise ConfigError(f"evaluate.metrics: {self.name} {self.unable(loss)}")
        scores = loss.anomaly(examined.players, as_played(rows["real"]))
        return {"scores": scores, "anomalous": rows["anomalous"]}

    def grade(self, answers: Mapping[str, Tensor]) -> dict[str, float]:
        """Both scores, NaN where all held-out samples are normal, or all anomalous."""
        scores, anomalous = answers["scores"], answers["anomalous"].bool()
        return {"auroc": auroc(scores, anomalous), "average_precision": average_precision(scores, anomalous)}

    def picture(self, answers: Mapping[str, Tensor], facts: Facts) -> Tensor | None:
        """The ROC curve; None where a kind of sample is missing."""
        scores, anomalous = answers["scores"], answers["anomalous"].bool()
        if anomalous.all() or not anomalous.any():
            return None
        return drawn(*roc(scores, anomalous), auroc(scores, anomalous), len(scores), int(anomalous.sum()))


class PixelAnomalies(Examination):
    """Area under the ROC curve over the pixels of held-out images: do heatmaps point at the defects?"""

    name: ClassVar[str] = "pixel-anomalies"
    scores: ClassVar[tuple[str, ...]] = ("pixel_auroc",)
    aliases: ClassVar[tuple[str, ...]] = ("pixel-auroc",)

    def unfit(self, source: Source) -> str | None:
        """Without held-out images, or if they have no masks."""
        return super().unfit(source) or _lacking(source, "masks", "with masks of their anomalies")

    def unable(self, loss: Loss) -> str | None:
        """Losses without heatmaps."""
        return None if isinstance(loss, ShowsAnomalies) else f"needs a loss that makes heatmaps, {loss.name} does not"

    def answers(self, rows: Mapping[str, Tensor], examined: Examined) -> dict[str, Tensor]:
        """Heat and truth of each pixel."""
        loss = examined.loss
        if not isinstance(loss, ShowsAnomalies):
            raise ConfigError(f"evaluate.metrics: {self.name} {self.unable(loss)}")
        return {"heat": loss.heatmap(examined.players, as_played(rows["real"])).half(), "masks": rows["masks"]}

    def grade(self, answers: Mapping[str, Tensor]) -> dict[str, float]:
        """The score, NaN where no mask has a pixel."""
        return {"pixel_auroc": auroc(answers["heat"].flatten(), answers["masks"].bool().flatten())}


def _lacking(source: Source, entry: str, said: str) -> str | None:
    held = source.held_out()
    return None if held is not None and entry in held.read([0]) else f"needs held-out samples {said}"
