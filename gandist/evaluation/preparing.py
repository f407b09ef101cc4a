"""Everything that a score needs before the first sample: networks, statistics of real samples, their own scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from gandist.config.schema import Evaluate
from gandist.contract.component import Component
from gandist.contract.components import Source
from gandist.contract.scoring import Extractor, Metric, Scored
from gandist.evaluation.cache import Stored
from gandist.evaluation.metrics import sampled, spaces
from gandist.evaluation.reference import MOST_REFERENCE, RealSamples, digest, weights_sha256
from gandist.evaluation.tallies import Measure, Tallies

SPLIT = f"reference: a fixed random half, at most {MOST_REFERENCE:,}; NAME_real: up to count samples of the other half"

Networks = dict[Extractor | None, nn.Module | None]


@dataclass(frozen=True, eq=False)
class Prepared:
    """networks: by feature space, None for metrics that need none. real: the reference half, where it is compared by
    rows. floors: metric → scores of real samples. about: the protocol."""

    measures: tuple[Measure, ...]
    networks: Networks
    real: dict[Extractor | None, Scored]
    floors: dict[str, dict[str, float]]
    about: dict[str, Any]

    def on(self, device: torch.device) -> Prepared:
        """The same, on a device."""
        for network in self.networks.values():
            if network is not None:
                network.to(device)
        measures = tuple(replace(one, known=_moved(one.known, device)) for one in self.measures)
        real = {space: Scored(**_moved(vars(rows), device)) for space, rows in self.real.items()}
        return replace(self, measures=measures, real=real)


def _moved(tensors: Mapping[str, Tensor | None], device: torch.device) -> dict[str, Any]:
    return {name: None if tensor is None else tensor.to(device) for name, tensor in tensors.items()}


def prepared(section: Evaluate, source: Source, device: torch.device) -> Prepared:
    """Made, or read from the cache; on the device."""
    networks: Networks = {None: None}
    samples: dict[Extractor | None, RealSamples] = {None: RealSamples(source, section.count, device)}
    about: dict[str, Any] = {}
    for space in spaces(section):
        network = space.build(source, device).to(device).eval().requires_grad_(False)
        sha = weights_sha256(network)
        named = f"{space.name}-{digest(space.model_dump(mode='json', exclude=set(space.unnamed)))}-{sha[:16]}"
        networks[space] = network
        samples[space] = RealSamples(source, section.count, device, network, named)
        weighed = {"weights_sha256": sha} if network.state_dict() else {}
        about[space.name] = {**_settings(space), **getattr(network, "about", {}), **weighed}
    measures, real = [], {}
    for metric in sampled(section):
        space = metric.space(section.features)
        known = _statistics(metric, samples[space])
        measures.append(Measure(metric, space, _moved(known, device)))
        if metric.gathers and space not in real:
            rows = samples[space].rows("reference") if space is not None else Scored()
            real[space] = Scored(**_moved(vars(rows), device))
    floors = _floors(measures, networks, real, samples, device)
    return Prepared(tuple(measures), networks, real, floors, _protocol(measures, about, samples[None]))


def _statistics(metric: Metric, samples: RealSamples) -> dict[str, Tensor]:
    if type(metric).statistics is Metric.statistics:
        return {}
    about = f"{metric.name}-{digest(metric.model_dump(mode='json'))}"
    return samples.kept(about, lambda: (metric.statistics(samples), {}))[0]


def _floors(
    measures: Sequence[Measure],
    networks: Networks,
    real: dict[Extractor | None, Scored],
    samples: dict[Extractor | None, RealSamples],
    device: torch.device,
) -> dict[str, dict[str, float]]:
    """The scores of real samples of the other half, as if a generator had made them."""
    wanted = [one for one in measures if one.metric.floors]
    found: dict[str, dict[str, float]] = {one.metric.name: {} for one in measures}

    def make(one: Measure) -> Stored:
        # All at once: the samples are read and their features made a single time.
        if not scored:
            tallies = Tallies(wanted, networks, real, samples[None].facts, device)
            for batch in samples[None].batches("others"):
                tallies.add(batch)
            scored.update(tallies.scores(shared=False))
        own = scored[one.metric.name]
        return {name: torch.tensor(own[name], dtype=torch.float64) for name in one.metric.floors}, {}

    scored: dict[str, dict[str, float]] = {}
    for one in wanted:
        about = f"{one.metric.name}-{digest(one.metric.model_dump(mode='json'))}-{samples[None].count}-real"
        stored, _ = samples[one.space].kept(about, lambda one=one: make(one))
        found[one.metric.name] = {name: float(value) for name, value in stored.items()}
    return found


def _protocol(measures: Sequence[Measure], spaces: dict[str, Any], samples: RealSamples) -> dict[str, Any]:
    """Feature spaces with their settings and weights, and what each metric was set to and works in."""
    metrics = {
        one.metric.name: {
            **({"features": one.space.name} if one.space is not None else {}),
            **_settings(one.metric),
        }
        for one in measures
    }
    first = next((one.space.name for one in measures if one.space is not None), None)
    about: dict[str, Any] = {}
    if first is not None:
        about = {"features": first, **spaces[first], "reference_count": len(samples.indices("reference"))}
    return {**about, "split": SPLIT, "spaces": spaces, "metrics": metrics}


def _settings(component: Component) -> dict[str, Any]:
    """Its fields."""
    return {name: value for name, value in component.model_dump(mode="json").items() if name != "name"}
