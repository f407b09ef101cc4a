"""Principal directions (GANSpace: Härkönen, Hertzmann, Lehtinen & Paris 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from gandist.errors import ConfigError
from gandist.using.interpreting.found import SEED, Found, signed, spreads
from gandist.using.interpreting.reach import Reached, given, second_layer
from gandist.using.interpreting.spaces import Space

LATENTS = 20_000
_MOST_NUMBERS = 2**25
"""Of the matrix that is taken apart: 128 MiB."""


def find_directions(space: Space, count: int, latents: int = LATENTS) -> Found:
    """The `count` directions along which the codes of random latents vary most.

    Of styles these are their principal components. Otherwise they are those of the features that the first layer, with
    the norm and activation behind it, gives to the second; each is carried back to latents by linear regression, as in
    the paper for BigGAN. latents: drawn for it; wide features are taken apart on fewer, so that they fit in 128 MiB.
    Raises ConfigError if the features do not vary.
    """
    if latents < 2:
        raise ConfigError(f"directions need at least 2 latents, not {latents}")
    if space.styled:
        rows = torch.cat([space.rows(codes).cpu() for codes in space.codes(latents, SEED)])
        vectors, shares = principal(rows, count)
        if not len(shares):
            raise ConfigError(f"{space.trained.path}: its styles do not vary with the latents")
        vectors = signed(vectors)
        return Found(
            f"principal directions of the styles of layers {_numbers(space.layers)}",
            vectors,
            shares,
            spreads(space, vectors),
        )
    sample = next(space.codes(2, SEED))
    layer = second_layer(space.network, space.run, sample)
    width = given(layer, space.run, sample).shape[1]
    rows = _features(space, layer, max(2, min(latents, _MOST_NUMBERS // width)))
    components, shares = principal(rows, count)
    if not len(shares):
        raise ConfigError(f"{space.trained.path}: its features do not vary with the latents")
    mean = rows.mean(0, dtype=torch.float64)
    del rows
    vectors, straight = _back(space, layer, mean, components, latents)
    vectors = signed(vectors)
    return Found(_called(space, layer), vectors, shares, spreads(space, vectors), straight)


def _numbers(layers: tuple[int, ...]) -> str:
    """Layers in few words: 0..3,5."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)


def _called(space: Space, layer: Reached | None) -> str:
    if layer is None:
        return "principal directions of the samples themselves"
    name = next(name for name, module in space.network.named_modules() if module is layer.layer)
    return f"principal directions of the features that {name} is given"


def _features(space: Space, layer: Reached | None, n: int) -> Tensor:
    return torch.cat([given(layer, space.run, codes).float().cpu() for codes in space.codes(n, SEED)])


def principal(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Principal components (K, D) of rows (N, D) and their shares of the variance (K,), float64; K ≤ count, fewer where
    the rows have no more. By subspace iteration from a fixed start (Halko, Martinsson & Tropp 2011)."""
    centred = rows - rows.mean(0, dtype=torch.float64).to(rows.dtype)
    total, before = (float(torch.linalg.vector_norm(part, dtype=torch.float64)) for part in (centred, rows))
    size = min(2 * count + 20, *rows.shape)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        _, values, vectors = torch.svd_lowrank(centred, q=size, niter=8)
    values = values.double()
    # What rounding leaves of a constant, or beyond the rank, is no variance.
    floor = max(1e-5 * float(values[0]), 1e-7 * before)
    kept = min(count, int((values > floor).sum()))
    return vectors.T[:kept].double(), values[:kept].square() / total**2


def _back(space: Space, layer: Reached | None, mean: Tensor, components: Tensor, latents: int) -> tuple[Tensor, Tensor]:
    """Directions (K, D) in latents along which features move most along each component, by regression of the component
    on the latents; and the share of its variance that this explains.

    The paper regresses latents on components. For independent latents of one variance both give the same direction,
    this one without noise where features are linear.
    """
    count, width = len(components), space.width
    sums = torch.zeros(count + width, dtype=torch.float64)
    products = torch.zeros(count + width, count + width, dtype=torch.float64)
    for codes in space.codes(latents, SEED):
        along = (given(layer, space.run, codes).double().cpu() - mean) @ components.T
        both = torch.cat([along, codes[:, 0].double().cpu()], dim=1)
        sums += both.sum(0)
        products += both.T @ both
    covariance = products / latents - torch.outer(sums, sums) / latents**2
    cross, inner = covariance[:count, count:], covariance[count:, count:]
    slopes = cross @ torch.linalg.pinv(inner, rtol=1e-10, hermitian=True)
    explained = (slopes * cross).sum(1) / covariance.diagonal()[:count].clamp(min=1e-30)
    return slopes, explained.clamp(0.0, 1.0)
