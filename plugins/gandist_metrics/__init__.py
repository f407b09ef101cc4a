"""Metrics and the feature spaces they work in, a paper's method in a file of its own."""

from gandist import Extractor, Metric, defined_in, hookimpl


@hookimpl
def gandist_extractors() -> list[type[Extractor]]:
    """All extractors of this package."""
    return defined_in(__name__, Extractor)


@hookimpl
def gandist_metrics() -> list[type[Metric]]:
    """All metrics of this package."""
    return defined_in(__name__, Metric)
