"""Samples by index: sample i of seed s is the same whatever the count, the batch, or the number of ranks."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gandist.contract.facts import Facts
from gandist.contract.noise import Noise, key
from gandist.errors import ConfigError

BLOCK = 64
"""Latents are drawn in blocks of this many, so that reaching sample i never draws all before it."""


def draws(networks: Mapping[str, nn.Module]) -> bool:
    """Whether there is a generator that makes samples of noise, rather than others of given ones."""
    return hasattr(networks.get("generator"), "draw")


def to_bytes(samples: Tensor) -> Tensor:
    """Images in [-1, 1] as uint8, rounded and clamped; points stay float32."""
    levels = to_levels(samples)
    return levels.round_().to(torch.uint8) if samples.dim() == 4 else levels


def to_levels(samples: Tensor) -> Tensor:
    """Images in [-1, 1] as float32 from 0 to 255, clamped but not rounded; points stay float32."""
    if samples.dim() != 4:
        return samples.float()
    return samples.float().add(1).mul_(127.5).clamp_(0, 255)


def draw(generator: nn.Module, seed: int, start: int, stop: int, classes: int, device: torch.device) -> tuple[Any, Any]:
    """Latents and labels (int64, or None without classes) of the samples start ≤ i < stop of one block.

    Raises ConfigError for a generator that makes no samples of noise.
    """
    if not hasattr(generator, "draw"):
        raise ConfigError(
            "this run's generator draws no samples: it turns given ones into others (gandist translate, gandist "
            "evaluate with metrics of held-out samples)"
        )
    dtype = next((weight.dtype for weight in generator.parameters()), torch.float32)
    noise = noise_of("latents", seed, start, stop, device, dtype)
    latents = generator.draw(noise, stop - start)  # type: ignore[operator]
    return latents, labels_of(seed, start, stop, classes, device, dtype) if classes else None


def noise_of(name: str, seed: int, start: int, stop: int, device: torch.device, dtype: torch.dtype) -> Noise:
    """The stream `name` of the samples start ≤ i < stop of one block."""
    block = start // BLOCK
    begin = block * BLOCK
    rows = {"start": start - begin, "stop": stop - begin, "total": BLOCK}
    return Noise(seed, "sample", name, block, **rows, device=device, dtype=dtype)


def labels_of(
    seed: int, start: int, stop: int, classes: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Labels of the samples start ≤ i < stop of one block, int64."""
    drawn = noise_of("labels", seed, start, stop, device, dtype).uniform(stop - start)
    return (drawn * classes).long()


@torch.no_grad()
def heeds_labels(generator: nn.Module, facts: Facts, device: torch.device) -> bool:
    """Whether two labels make different samples of the same latents."""
    if facts.classes < 2:
        return False
    latents, _ = draw(generator, 0, 0, 2, 0, device)
    training = generator.training
    generator.eval()
    made = []
    try:
        for label in (0, 1):
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                # Noise inside is the same each time.
                torch.manual_seed(0)
                made.append(generator(latents, torch.full((2,), label, device=device)))
    finally:
        generator.train(training)
    return not torch.equal(*made)


@torch.no_grad()
def can_heed_labels(generator: nn.Module, facts: Facts, device: torch.device) -> bool:
    """Whether it is of a kind that heeds labels, even if it does not yet, or no longer: a fresh one may begin with the
    same gains for all classes, a collapsed one makes one sample of everything."""
    if facts.classes < 2:
        return False
    if heeds_labels(generator, facts, device):
        return True
    other, noise = copy.deepcopy(generator), torch.Generator().manual_seed(0)
    for weight in other.parameters():
        # The same on all ranks.
        weight.add_(torch.randn(weight.shape, generator=noise).to(weight), alpha=0.01)
    return heeds_labels(other, facts, device)


@torch.no_grad()
def samples(
    generator: nn.Module,
    facts: Facts,
    *,
    seed: int,
    start: int,
    stop: int,
    device: torch.device,
    label: int | None = None,
) -> Iterator[Tensor]:
    """The samples start ≤ i < stop in batches of at most `BLOCK`, as `to_bytes` gives them, made in eval mode.

    Torch's random state stays as it was; what a network draws inside depends on seed and block.
    label: ask for this class instead of drawing one per sample.
    """
    training = generator.training
    generator.eval()
    try:
        while start < stop:
            end = min(stop, (start // BLOCK + 1) * BLOCK)
            latents, labels = draw(generator, seed, start, end, facts.classes, device)
            if label is not None:
                labels = torch.full((end - start,), label, dtype=torch.int64, device=device)
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                torch.manual_seed(key(seed, "inside", start // BLOCK))
                images = generator(latents, labels)
            yield to_bytes(images)
            start = end
    finally:
        generator.train(training)
