"""Lets metrics explore the generator, each rank a part of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gandist.contract.exploring import Exploration, Explored
from gandist.contract.facts import Facts
from gandist.contract.noise import key
from gandist.contract.resting import at_rest, seeded
from gandist.evaluation.examining import of_all
from gandist.training.sampling import BLOCK, labels_of, noise_of, to_levels


def explore(
    explorations: Iterable[Exploration],
    generator: nn.Module,
    networks: Mapping[str, nn.Module | None],
    facts: Facts,
    *,
    seed: int,
    start: int,
    stop: int,
    count: int,
    device: torch.device,
) -> dict[str, dict[str, float]]:
    """Exploration → its scores by name, the same on all ranks. All of them must call it.

    networks: of each exploration's feature space, by its name. start, stop: this rank's rows, whole blocks of `count`.
    """
    given: dict[str, dict[str, list[Tensor]]] = {one.name: {} for one in explorations}
    dtype = next((weight.dtype for weight in generator.parameters()), torch.float32)
    with torch.no_grad(), at_rest([generator]), _precise():
        for first in range(start, stop, BLOCK):
            last = min(stop, first + BLOCK)
            labels = labels_of(seed, first, last, facts.classes, device, dtype) if facts.classes else None
            for one in explorations:

                def noise(name: str, one: Exploration = one, first: int = first, last: int = last):
                    return noise_of(f"{one.name} {name}", seed, first, last, device, dtype)

                explored = Explored(
                    generator, labels, facts, noise, _features(networks[one.name]), _still(key(seed, first), device)
                )
                for name, answer in one.answers(explored).items():
                    given[one.name].setdefault(name, []).append(answer)
    own = {name: {part: torch.cat(rows) for part, rows in parts.items()} for name, parts in given.items()}
    return {one.name: one.grade(of_all(own[one.name], start, count, device)) for one in explorations}


def _features(network: nn.Module | None) -> Callable[[Tensor], Tensor]:
    def features(samples: Tensor) -> Tensor:
        samples = to_levels(samples)
        if network is None:
            return samples.flatten(1)
        made = network(samples)
        return made[0] if isinstance(made, tuple) else made

    return features


def _still(seed: int, device: torch.device) -> Callable[[Callable[[], Tensor]], Tensor]:
    def still(work: Callable[[], Tensor]) -> Tensor:
        with seeded(seed, device):
            return work()

    return still


@contextmanager
def _precise() -> Iterator[None]:
    """Without TensorFloat-32, whose ten bits swallow small differences."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
