"""Which class a sample is of."""

from torch import Tensor

from gandist import ConfigError, Facts, Scored


def classes_of(rows: Scored, facts: Facts, metric: str) -> Tensor:
    """Labels of real samples; of others those that were asked for, or else what the classifier sees in them: (N,).

    Raises ConfigError where neither is known.
    """
    if rows.labels is not None:
        return rows.labels
    if rows.logits is not None and rows.logits.shape[1] == facts.classes:
        return rows.logits.argmax(1)
    raise ConfigError(
        f"evaluate.metrics: {metric} needs samples with classes: of a generator that heeds labels, or as "
        "features: classifier sees them"
    )
