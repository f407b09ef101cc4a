"""What must be the same on all ranks whenever a checkpoint is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gandist.contract.collective import distributed
from gandist.errors import RunError


def broadcast_buffers(modules: Iterable[nn.Module]) -> None:
    """Makes rank 0's buffers (running means of batch norm) everybody's."""
    if distributed():
        for module in modules:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)


def digest(tensor: Tensor) -> Tensor:
    """Two int64 numbers that change with any bit of the tensor: a sum of its words, and one weighted by position."""
    words = tensor.detach().contiguous().flatten()
    width = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[words.element_size()]
    bits = words.view(width).to(torch.int64) if words.dtype != torch.bool else words.to(torch.int64)
    position = torch.arange(1, len(bits) + 1, device=bits.device) % 65_521
    return torch.stack([bits.sum(), (bits * position).sum()])


def require_equal(tensors: Mapping[str, Tensor]) -> None:
    """Raises RunError on all ranks, naming the first tensor that is not bit for bit the same on each."""
    if not distributed() or not tensors:
        return
    mine = torch.stack([digest(tensor) for tensor in tensors.values()])
    high, low = mine.clone(), mine.clone()
    dist.all_reduce(high, dist.ReduceOp.MAX)
    dist.all_reduce(low, dist.ReduceOp.MIN)
    differs = (high != low).any(1).nonzero()
    if len(differs):
        name = list(tensors)[int(differs[0, 0])]
        raise RunError(
            f"the ranks no longer agree: {len(differs)} of {len(tensors)} tensors differ, the first is {name}; a "
            f"component that draws its own random numbers or changes its memory from one rank's rows does this"
        )
