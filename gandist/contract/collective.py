"""Sums and gathers over ranks that gradients flow through, to any order."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def distributed() -> bool:
    """Whether there is more than one rank."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _AllSum(torch.autograd.Function):
    """y = sum over ranks of x. Its derivative is the same sum of the incoming gradients, hence it is its own backward,
    and so are all higher derivatives: a gather that kept only its own slice would have 1/W of the gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _AllSum.apply(gradients[0])  # type: ignore[return-value]


def all_sum(value: Tensor) -> Tensor:
    """The sum over ranks, differentiable to any order. All ranks must call it; on one rank it returns its argument."""
    return _AllSum.apply(value) if distributed() else value  # type: ignore[return-value]


def all_rows(rows: Tensor, start: int, total: int) -> Tensor:
    """The rows of all ranks in the order of the global batch, differentiable; own rows begin at `start` of `total`."""
    if not distributed():
        return rows
    # Rows of others are zeros here, so that a sum gathers shares of any size.
    rest = total - start - len(rows)
    padded = torch.cat([rows.new_zeros(start, *rows.shape[1:]), rows, rows.new_zeros(rest, *rows.shape[1:])])
    return all_sum(padded)
