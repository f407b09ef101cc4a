"""Checks of architectures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from gandist.contract.components import Architecture
from gandist.contract.facts import Facts
from gandist.contract.noise import Noise
from gandist.contract.turn import Verdict, slopes
from gandist.training.players import divisor

ELSEWHERE = (Facts((2,), 0, 100, "points"), Facts((3, 17, 17), 0, 100, "images of an odd size"))
"""Data that few architectures take: they must say so, or work."""


def check_architecture(
    architecture: Architecture, facts: Facts, *, batch_size: int = 4, elsewhere: Iterable[Facts] = ELSEWHERE
) -> None:
    """Builds the players for such data and raises AssertionError where the contract fails.

    The generator makes samples of the right shape and range, row by row from latents that its noise decides; the
    discriminator answers with logits (B,) that can be differentiated twice. Both train all of their parameters, work
    with labels and on data without, in float64 and under bf16 autocast, and are wholly in their state dict. Weights
    depend on torch's random state alone. Data that the architecture cannot take is refused with a reason.

    Players whose generator does not draw are called by their loss only, in its own way: of them no more is looked at
    than the weights; `check_loss` plays them.
    """
    reason = architecture.refuse(facts)
    assert reason is None, f"{architecture.name} refuses {facts.shape}: {reason}"
    with torch.random.fork_rng():
        _check_players(architecture, facts, batch_size)
        for other in (replace(facts, classes=0, class_names=()), *elsewhere):
            reason = architecture.refuse(other)
            assert reason is None or (isinstance(reason, str) and reason), "refuse() answers a reason, or None"
            if reason is None and other != facts and not _by_loss_only(_build(architecture, other, seed=0)):
                _check_forward(architecture.name, _build(architecture, other, seed=0), other, batch_size)


def _build(architecture: Architecture, facts: Facts, seed: int) -> nn.ModuleDict:
    torch.manual_seed(seed)
    return nn.ModuleDict(architecture.build(facts))


def _by_loss_only(players: nn.ModuleDict) -> bool:
    return "generator" in players and not hasattr(players["generator"], "draw")


def _noise(n: int, start: int = 0, stop: int | None = None, dtype: torch.dtype = torch.float32) -> Noise:
    return Noise("check", start=start, stop=stop or n, total=n, device=torch.device("cpu"), dtype=dtype)


def _labels(facts: Facts, n: int) -> Tensor | None:
    return torch.arange(n) % facts.classes if facts.classes else None


def _rows(players: nn.ModuleDict, batch_size: int) -> int:
    step = divisor(dict(players.items()))
    return -(-batch_size // step) * step


def _check_forward(name: str, players: nn.ModuleDict, facts: Facts, batch_size: int, dtype=torch.float32) -> None:
    """One forward of generator and discriminator in training mode, on rows as they come in a run."""
    n, images = _rows(players, batch_size), None
    labels = _labels(facts, n)
    if "generator" in players:
        images = players["generator"](_draw(players["generator"], _noise(n, dtype=dtype), n), labels)
        _check_samples(name, images, facts, n, getattr(players["generator"], "unbounded", False))
    if "discriminator" in players:
        images = torch.rand(n, *facts.shape, dtype=dtype) * 2 - 1 if images is None else images.detach().to(dtype)
        _logits(name, players["discriminator"](images, labels), n)


def _draw(generator: Any, noise: Noise, n: int) -> Any:
    assert hasattr(generator, "draw"), f"{type(generator).__name__} has no draw(noise, n) for its latents"
    return generator.draw(noise, n)


def _check_samples(name: str, samples: Tensor, facts: Facts, n: int, unbounded: bool) -> None:
    assert samples.shape == (n, *facts.shape), f"{name}: samples {tuple(samples.shape)}, not {(n, *facts.shape)}"
    assert samples.isfinite().all(), f"{name}: the generator's samples are not finite"
    if facts.images and not unbounded:
        largest = samples.abs().max().item()
        assert largest <= 1 + 1e-2, f"{name}: images reach {largest:.2f}, outside [-1, 1]"


def _logits(name: str, answer: Tensor | Verdict, n: int) -> Tensor:
    logits = answer.logits if isinstance(answer, Verdict) else answer
    # Maps of patches are (B, h, w); a column is the usual mistake.
    fits = logits.shape[:1] == (n,) and logits.dim() != 2
    assert fits, f"{name}: logits {tuple(logits.shape)}, not ({n},)"
    assert logits.isfinite().all(), f"{name}: the discriminator's logits are not finite"
    return logits


def _check_players(architecture: Architecture, facts: Facts, batch_size: int) -> None:
    name = architecture.name
    players, twin, other = (_build(architecture, facts, seed) for seed in (0, 0, 1))
    weights = players.state_dict()
    same = all(torch.equal(value, weights[key]) for key, value in twin.state_dict().items())
    assert same, f"{name}: two builds from one random state differ"
    if _by_loss_only(players):
        return
    _check_forward(name, players, facts, batch_size)
    _check_gradients(name, players, facts, batch_size)
    _check_sampling(name, players, other, facts, batch_size)
    with torch.autocast("cpu", torch.bfloat16):
        _check_forward(f"{name} in bf16", twin, facts, batch_size)
    _check_forward(f"{name} in float64", twin.double(), facts, batch_size, torch.float64)


def _check_gradients(name: str, players: nn.ModuleDict, facts: Facts, batch_size: int) -> None:
    """Every parameter is trained, also through a penalty on the discriminator's slope."""
    n = _rows(players, batch_size)
    labels = _labels(facts, n)
    if "generator" in players:
        generator = players["generator"]
        generator(_draw(generator, _noise(n), n), labels).square().sum().backward()
        _require_gradients(f"{name}: generator", generator)
    if "discriminator" in players:
        images = (torch.rand(n, *facts.shape) * 2 - 1).requires_grad_()
        answer = players["discriminator"](images, labels)
        logits = _logits(name, answer, n)
        classes = answer.classes.square().sum() if isinstance(answer, Verdict) and answer.classes is not None else 0
        (slopes(logits, images).square().sum() + logits.square().sum() + classes).backward()
        _require_gradients(f"{name}: discriminator", players["discriminator"])


def _require_gradients(who: str, network: nn.Module) -> None:
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{who}: {key} got no gradient"
        assert parameter.grad.isfinite().all(), f"{who}: the gradient of {key} is not finite"


def _check_sampling(name: str, players: nn.ModuleDict, other: nn.ModuleDict, facts: Facts, batch_size: int) -> None:
    """In eval mode a sample depends on its own latents, its label and the state dict alone."""
    other.load_state_dict(players.state_dict())
    if "generator" not in players:
        return
    generator, copy = players["generator"].eval(), other["generator"].eval()
    n = _rows(players, max(2, batch_size))
    half, labels = n // 2, _labels(facts, n)
    with torch.no_grad():
        whole = generator(_draw(generator, _noise(n), n), labels)
        again = copy(_draw(copy, _noise(n), n), labels)
        assert torch.equal(whole, again), f"{name}: a generator with the same state dict makes other samples"
        for start, stop in ((0, half), (half, n)):
            latents = _draw(generator, _noise(n, start, stop), stop - start)
            part = generator(latents, None if labels is None else labels[start:stop])
            gap = (part - whole[start:stop]).abs().max().item()
            assert gap < 1e-3, (
                f"{name}: rows {start} to {stop} come out differently without the others, by {gap:.1e}; latents must "
                f"come from the noise that draw() is given, and in eval mode samples must not mix"
            )
        _check_styles(name, generator, _draw(generator, _noise(n), n), labels, whole)


def _check_styles(name: str, generator: Any, latents: Any, labels: Tensor | None, samples: Tensor) -> None:
    """What a generator may have beside draw and forward fits together."""
    depth, width = 1, latents[0].numel() if isinstance(latents, Tensor) else None
    if hasattr(generator, "map") and hasattr(generator, "synthesize"):
        styles = generator.map(latents, labels)
        assert styles.dim() == 3, f"{name}: map() gives {tuple(styles.shape)}, not styles (B, layers, D)"
        depth, width = styles.shape[1:]
        gap = (generator.synthesize(styles) - samples).abs().max().item()
        assert gap < 1e-3, f"{name}: synthesize(map(latents, labels)) is not what the generator makes, by {gap:.1e}"
    if hasattr(generator, "factors"):
        shapes = [tuple(matrix.shape) for matrix in generator.factors()]
        fit = len(shapes) == depth and all(len(shape) == 2 and shape[1] == width for shape in shapes)
        assert fit, f"{name}: factors() gives {shapes}, not {depth} matrices (outputs, {width})"
