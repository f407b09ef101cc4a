"""Which layers of a network its codes meet first, found by watching a forward pass rather than by knowing the network.

A weighted layer is a module with a `weight` of two or more dimensions: dense, convolution, or one of a plugin's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Run = Callable[[Tensor], Tensor]
"""Codes (B, …) to samples, by way of the network."""
_PRECISION = 1e-3
"""How far from affine, relative to its own change, rounding may make an affine layer look."""


class Reached(NamedTuple):
    """A layer, and which of its arguments depends on the codes."""

    layer: nn.Module
    argument: int


class Enough(Exception):  # noqa: N818  (no error: what was asked for is known)
    """Ends a forward pass."""


def _weighted(network: nn.Module) -> list[nn.Module]:
    weights = [(module, getattr(module, "weight", None)) for module in network.modules()]
    return [module for module, weight in weights if isinstance(weight, Tensor) and weight.dim() > 1]


@contextmanager
def _watching(handles: list[Any]) -> Iterator[None]:
    try:
        with suppress(Enough):
            yield
    finally:
        for handle in handles:
            handle.remove()


def _differentiable(inputs: tuple[Any, ...]) -> int | None:
    return next((i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad), None)


def _cut(output: Any) -> Any:
    if isinstance(output, tuple):
        return tuple(_cut(part) for part in output)
    return output.detach() if isinstance(output, Tensor) else output


def _holds(module: nn.Module, others: Iterable[nn.Module]) -> bool:
    """Whether one of the others is the module or a part of it."""
    return not set(module.modules()).isdisjoint(others)


def _leaf(codes: Tensor) -> Tensor:
    # A copy, since a network may overwrite what it is given.
    return codes.detach().requires_grad_().clone()


def first_layers(network: nn.Module, run: Run, codes: Tensor) -> list[nn.Module]:
    """The weighted layers that codes reach by a way on which no other one lies, in the order of their calls.

    Of layers within each other it is the innermost: a convolution whose scales a dense layer makes of a style does not
    meet the style first.
    """
    found: dict[nn.Module, None] = {}

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if _differentiable(inputs) is None or _holds(module, found):
            return None
        found[module] = None
        return _cut(output)

    with torch.enable_grad(), _watching([layer.register_forward_hook(hook) for layer in _weighted(network)]):
        run(_leaf(codes))
    return list(found)


def second_layer(network: nn.Module, run: Run, codes: Tensor) -> Reached | None:
    """The first weighted layer to be called that codes reach through another one; None if there is none.

    What it is given is what the first layers, with all that follows them, have made of the codes.
    """
    first = set(first_layers(network, run, codes))
    found: list[Reached] = []

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        argument = _differentiable(inputs)
        if argument is not None and not _holds(module, first):
            found.append(Reached(module, argument))
            raise Enough

    with torch.enable_grad(), _watching([layer.register_forward_pre_hook(hook) for layer in _weighted(network)]):
        run(_leaf(codes))
    return found[0] if found else None


@torch.no_grad()
def given(reached: Reached | None, run: Run, codes: Tensor) -> Tensor:
    """What that layer is given for codes (B, …), flattened to (B, F); the samples themselves without a layer."""
    if reached is None:
        return run(codes).flatten(1)
    caught: list[Tensor] = []

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        # A copy, since the layer before it may overwrite its output on its next call.
        caught.append(inputs[reached.argument].flatten(1).clone())
        raise Enough

    with _watching([reached.layer.register_forward_pre_hook(hook)]):
        run(codes)
    return caught[0]


@torch.no_grad()
def _outputs(layers: list[nn.Module], run: Run, codes: Tensor) -> list[Tensor]:
    """What each layer gives out on its first call: (B, outputs)."""
    caught: dict[nn.Module, Tensor] = {}

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        output = output if isinstance(output, Tensor) else output[0]
        caught.setdefault(module, output.flatten(1).clone())
        if len(caught) == len(layers):
            raise Enough

    with _watching([layer.register_forward_hook(hook) for layer in layers]):
        run(codes)
    return [caught[layer] for layer in layers]


def _affine(layers: list[nn.Module], run: Run, codes: Tensor) -> list[nn.Module]:
    """Those layers whose output is an affine function of the codes: halfway between two codes it is halfway too."""
    ends = codes[:2]
    outputs = _outputs(layers, run, torch.cat([ends, ends.mean(0, keepdim=True)]))
    kept = []
    for layer, (a, b, middle) in zip(layers, outputs, strict=True):
        change = (a - b).norm()
        if change > 0 and ((a + b) / 2 - middle).norm() <= _PRECISION * change:
            kept.append(layer)
    return kept


def first_maps(network: nn.Module, run: Run, codes: Tensor, units: Tensor) -> Tensor:
    """The linear maps that codes meet first, stacked: (outputs, D), the outputs' change along each of the units (D, …).

    codes: two or more, typical ones. No rows if none of the first layers is affine in the codes.
    """
    layers = first_layers(network, run, codes[:2])
    layers = _affine(layers, run, codes) if layers else []
    if not layers:
        return codes.new_zeros(0, len(units))
    base = codes[:1]
    at_base = torch.cat(_outputs(layers, run, base), dim=1)
    moved = [torch.cat(_outputs(layers, run, base + part), dim=1) - at_base for part in units.split(64)]
    return torch.cat(moved).T
