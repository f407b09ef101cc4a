"""Closed-form factorisation of the weights that codes meet first (SeFa: Shen & Zhou 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from gandist.errors import ConfigError
from gandist.using.interpreting.found import SEED, Found, signed, spreads
from gandist.using.interpreting.reach import first_maps
from gandist.using.interpreting.spaces import Space


def find_factors(space: Space, count: int) -> Found:
    """The `count` directions that the first linear maps stretch most: eigenvectors of AᵀA (equation 6), A the maps
    stacked. No samples are needed for them.

    The generator's own `factors()` says what the maps are; without one they are found by watching a forward pass.
    Raises ConfigError where the layers that the codes meet first are not linear in them.
    """
    own = hasattr(space.network, "factors")
    maps = _own(space) if own else _met(space)
    maps = maps.detach().double().cpu()
    values, vectors = torch.linalg.eigh(maps.T @ maps)
    values, vectors = values.flip(0).clamp(min=0), vectors.T.flip(0)
    kept = min(count, int((values > 1e-12 * values[0]).sum()))
    if not kept:
        raise ConfigError(f"{space.trained.path}: the first weights that its {space.name} meet are all zero")
    vectors = signed(vectors[:kept])
    return Found(_called(space, len(maps)), vectors, values[:kept] / values.sum(), spreads(space, vectors))


def _called(space: Space, outputs: int) -> str:
    if space.styled and len(space.layers) < space.depth:
        return f"factors of the {outputs:,} rows of weights that the styles of {len(space.layers)} layers meet"
    return f"factors of the {outputs:,} rows of weights that {space.name} meet first"


def _own(space: Space) -> Tensor:
    matrices = list(space.network.factors())  # type: ignore[operator]
    name, place = space.trained.config.architecture.name, space.trained.path
    if len(matrices) != space.depth or any(m.dim() != 2 or m.shape[1] != space.width for m in matrices):
        shapes = ", ".join(str(tuple(matrix.shape)) for matrix in matrices[:4])
        raise ConfigError(
            f"{place}: factors() of {name} should give {space.depth} matrices of width {space.width}, one for each "
            f"layer's codes; it gives {len(matrices)}: {shapes}"
        )
    return torch.cat([matrices[layer] for layer in space.layers])


def _met(space: Space) -> Tensor:
    codes = next(space.codes(2, SEED))
    units = torch.eye(space.width, dtype=codes.dtype, device=codes.device)[:, None]
    zero = torch.zeros(space.width, space.depth, space.width, dtype=codes.dtype, device=codes.device)
    zero[:, list(space.layers)] = units
    maps = first_maps(space.network, space.run, codes, zero)
    if not len(maps):
        raise ConfigError(
            f"{space.trained.path}: no layer that the {space.name} meet first is linear in them, so "
            f"{space.trained.config.architecture.name} has no closed-form factors unless its generator says which "
            "weights with factors(); gandist interpret RUN directions needs no such layer"
        )
    return maps
