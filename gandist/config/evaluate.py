"""The section of a config that says what is scored, and what follows from the scores."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainSerializer, SerializeAsAny, model_validator

from gandist.config.section import Section
from gandist.contract.component import Component
from gandist.contract.scoring import Extractor, Metric
from gandist.errors import did_you_mean

DEFAULT_FEATURES: Any = "classifier"
DEFAULT_METRICS: Any = ("frechet",)


def _short(component: Component) -> str | dict[str, Any]:
    """A component without fields by its name alone, which is how people write it."""
    return component.model_dump(mode="json") if type(component).model_fields else component.name


class Best(Section):
    """The checkpoint with the best score, which `train.keep` does not delete."""

    score: str
    """What is compared: a name of those that the metrics give, such as frechet."""
    mode: Literal["min", "max"] = "min"
    """Whether the smallest or the largest is the best."""
    patience: int = Field(default=0, ge=0)
    """The run ends after this many evaluations in a row without a better score; 0 waits until the end."""


class Evaluate(Section):
    """Scores during training and at its end."""

    every: int = Field(default=0, ge=0)
    """Steps between evaluations; 0 means none, at the end neither."""
    features: Annotated[SerializeAsAny[Extractor], PlainSerializer(_short)] = Field(
        default=DEFAULT_FEATURES, validate_default=True
    )
    """Feature space of the metrics: an extractor. The default is a small classifier that gandist trains on the labelled
    data set."""
    metrics: tuple[Annotated[SerializeAsAny[Metric], PlainSerializer(_short)], ...] = Field(
        default=DEFAULT_METRICS, validate_default=True
    )
    """What to compute."""
    count: int = Field(default=2000, ge=2)
    """Samples that are scored."""
    best: Best | None = None
    """Which checkpoint is kept as the best one, and whether to wait for a better one; null keeps the newest only."""
    asynchronous: bool = Field(default=False, alias="async")
    """Score checkpoints in a process of its own, on a free CPU or GPU, while the training goes on; where none is free,
    all workers score in turn, as without it."""
    limit: int = Field(default=3600, ge=1)
    """Seconds after which an evaluation beside the training (`async`) that has not come back is given up."""

    @model_validator(mode="after")
    def _best_is_measured(self) -> Self:
        if self.best is None:
            return self
        if not self.every:
            raise ValueError("best needs scores during the training; set every to the steps between evaluations")
        known = [score for metric in self.metrics for score in metric.all_scores()]
        if self.best.score not in known:
            near = did_you_mean(self.best.score, known)
            raise ValueError(
                f"best.score: no metric of the list gives {self.best.score}{near}; they give {', '.join(known)}"
            )
        return self
