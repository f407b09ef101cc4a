"""How often the classifier that a loss trains is wrong on samples that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from gandist import Examination, Examined, Facts, Loss, Source, class_logits, classifier_of
from gandist_metrics.confusion import confusion_matrix, drawn


class ErrorRate(Examination):
    """The share of held-out samples to which the trained classifier gives another class than their label."""

    name: ClassVar[str] = "test-error"
    scores: ClassVar[tuple[str, ...]] = ("test_error",)

    def unfit(self, source: Source) -> str | None:
        """It needs held-out samples, with labels."""
        held = source.held_out()
        if held is None:
            return "needs held-out samples, this data set has none; set dataset.labelled, or split: train"
        return None if held.facts.classes > 1 else "needs held-out samples with labels of at least 2 classes"

    def unable(self, loss: Loss) -> str | None:
        """It needs a classifier."""
        return None if classifier_of(loss) else "needs a loss that trains a classifier, such as semi-supervised"

    def answers(self, rows: Mapping[str, Tensor], examined: Examined) -> dict[str, Tensor]:
        """The class that each sample is given, and its label, int64 (B,)."""
        logits = class_logits(examined.loss, examined.players, rows["real"])
        return {"given": logits.argmax(1), "labels": rows["labels"]}

    def grade(self, answers: Mapping[str, Tensor]) -> dict[str, float]:
        """`test_error`, a share from 0 to 1."""
        return {"test_error": float((answers["given"] != answers["labels"]).double().mean())}

    def picture(self, answers: Mapping[str, Tensor], facts: Facts) -> Tensor | None:
        """The confusion matrix."""
        matrix = confusion_matrix(answers["labels"], answers["given"], facts.classes)
        return drawn(matrix, facts.class_names or tuple(map(str, range(facts.classes))))
