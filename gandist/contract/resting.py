"""Asking networks without leaving a trace: neither in their mode, nor in torch's random state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def at_rest(networks: Iterable[nn.Module]) -> Iterator[None]:
    """In eval mode, and afterwards as before."""
    before = {network: network.training for network in networks}
    for network in before:
        network.eval()
    try:
        yield
    finally:
        for network, training in before.items():
            network.train(training)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """What networks draw inside follows from the seed, and afterwards torch's random state is as before."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
