"""What samples are compared with: a trained classifier and the statistics of real samples under it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gandist.contract.components import Source
from gandist.contract.facts import Facts
from gandist.data.cache import cache_folder
from gandist.evaluation.cache import Stored, remembered
from gandist.evaluation.classifier import FEATURES, Classifier
from gandist.evaluation.fitting import classify, fit, held_out, order, read
from gandist.evaluation.statistics import frechet_distance, moment_sums, moments

VERSION = 1
"""Changes whenever the same data would give another classifier or other statistics."""
CONFIDENT = 0.9
"""A sample is confident if the classifier gives its class at least this probability."""
MOST_REFERENCE = 10_000


@dataclass(frozen=True)
class Reference:
    """A classifier with what real samples are under it.

    mean (D,), covariance (D, D): features of the reference half, float64 on the CPU; size: its number of samples.
    frechet: distance between that half and real samples of the other half. confident: share of held-out real samples
    that are confident. accuracy: of the classifier on held-out samples.
    """

    classifier: Classifier
    mean: Tensor
    covariance: Tensor
    size: int
    frechet: float
    confident: float
    accuracy: float


def confident(logits: Tensor) -> Tensor:
    """Which rows of (B, classes) logits are confident, bool (B,)."""
    return logits.softmax(1).amax(1) >= CONFIDENT


def halves(source: Source, count: int) -> tuple[Tensor, Tensor]:
    """Two disjoint sets of indices: the reference half (at most 10,000), and as many others as samples are scored.

    Both are fair draws from the whole source, the classifier's training samples included, so that what differs in the
    distance between them is chance alone. The second is smaller than `count` where the source has no more.
    """
    shuffled = order(source, "halves")
    half = len(source) // 2
    return shuffled[:half][:MOST_REFERENCE], shuffled[half:][:count]


def _key(facts: Facts) -> str:
    about = repr((facts.fingerprint, facts.shape, facts.classes, facts.size))
    return hashlib.blake2b(about.encode(), digest_size=12).hexdigest()


def _statistics(classifier: Classifier, source: Source, count: int) -> Stored:
    first, second = halves(source, count)
    both = [
        moments(moment_sums(classify(classifier, read(source, half)[0])[0]).cpu(), len(half))
        for half in (first, second)
    ]
    unseen, _ = read(source, held_out(source)[1])
    share = confident(classify(classifier, unseen)[1]).double().mean()
    numbers = {"size": len(first), "frechet": frechet_distance(*both[0], *both[1]), "confident": float(share)}
    mean, covariance = both[0]
    return {"mean": mean, "covariance": covariance}, {name: repr(value) for name, value in numbers.items()}


def _like(stored: Stored, tensors: Mapping[str, Tensor], numbers: set[str]) -> bool:
    """Whether a cached file holds tensors of these names and shapes, and these finite numbers."""
    found, about = stored
    try:
        finite = all(math.isfinite(float(about[name])) for name in numbers)
    except (KeyError, ValueError):
        return False
    return finite and {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in tensors.items()}


def reference(source: Source, count: int, device: torch.device) -> Reference:
    """The reference of a labelled source of images for scores of `count` samples; trained and computed, or cached."""
    facts, folder = source.facts, cache_folder()

    def trained() -> Stored:
        classifier, accuracy = fit(source, device)
        return classifier.state_dict(), {"accuracy": repr(accuracy)}

    with torch.random.fork_rng(devices=[]):
        classifier = Classifier(facts.shape[0], facts.classes)
    weights, about = remembered(
        folder / "classifiers" / f"{_key(facts)}-v{VERSION}.safetensors",
        trained,
        lambda stored: _like(stored, classifier.state_dict(), {"accuracy"}),
    )
    classifier.load_state_dict(weights)
    classifier.to(device).eval().requires_grad_(False)
    moments_like = {"mean": torch.empty(FEATURES), "covariance": torch.empty(FEATURES, FEATURES)}
    statistics, numbers = remembered(
        folder / "references" / f"{_key(facts)}-{count}-v{VERSION}.safetensors",
        lambda: _statistics(classifier, source, count),
        lambda stored: _like(stored, moments_like, {"size", "frechet", "confident"}),
    )
    return Reference(
        classifier,
        statistics["mean"],
        statistics["covariance"],
        int(numbers["size"]),
        float(numbers["frechet"]),
        float(numbers["confident"]),
        float(about["accuracy"]),
    )
