"""Parts of networks whose feature maps are computed once more in the backward pass instead of being kept."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_Snapshot = list[tuple[nn.Module, str, Tensor | None]]
"""Owner and name of a buffer, and its value before the forward pass if that has moved it."""


class Recomputable(nn.Module):
    """A part of a network, such as a residual block, that `train.checkpoint_activations` plays twice.

    Between the forward and the backward pass only what goes in and comes out of it is kept. The second forward pass
    computes the same bits: it draws the same random numbers, and begins with the buffers as the first one found them
    (vectors of spectral norm), which it leaves as they are now (running means of batch norm). Slopes may be
    differentiated again.

    A block must not overwrite what goes into it, nor depend on what forward passes elsewhere change.
    """

    recomputes = False
    """Set by the engine, on each block of every player."""

    def __call__(self, *inputs: Any) -> Any:
        """What `forward` makes of the inputs."""
        if not (self.recomputes and torch.is_grad_enabled()):
            return super().__call__(*inputs)
        before = [
            (owner, name, buffer, buffer._version, buffer.clone())
            for owner in self.modules()
            for name, buffer in owner._buffers.items()
            if buffer is not None
        ]
        snapshot: _Snapshot = []
        output = checkpoint(
            super().__call__,
            *inputs,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), _AsBefore(snapshot)),
        )
        # Large constants need no copy. (torch's batch norm moves its means unseen, but computes nothing with them.)
        snapshot += [
            (owner, name, value if buffer._version != version else None)
            for owner, name, buffer, version, value in before
        ]
        return output


class _AsBefore:
    """Within it, the buffers are copies of what they were; afterwards the very tensors that they were on entering.

    It is entered once in each backward pass through the block: a penalty on slopes has two.
    """

    def __init__(self, snapshot: _Snapshot):
        self._snapshot = snapshot
        self._now: list[tuple[nn.Module, str, Tensor | None]] = []

    def __enter__(self) -> None:
        self._now = [(owner, name, owner._buffers[name]) for owner, name, _ in self._snapshot]
        for owner, name, value in self._snapshot:
            buffer = owner._buffers[name] if value is None else value
            owner._buffers[name] = None if buffer is None else buffer.clone()

    def __exit__(self, *error: object) -> None:
        for owner, name, buffer in self._now:
            owner._buffers[name] = buffer


def recompute(network: nn.Module) -> None:
    """Lets all recomputable parts of a network be recomputed."""
    for module in network.modules():
        if isinstance(module, Recomputable):
            module.recomputes = True


def recomputable(network: nn.Module) -> bool:
    """Whether a network has such parts."""
    return any(isinstance(module, Recomputable) for module in network.modules())
