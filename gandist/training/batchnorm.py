"""Batch norm over the global batch. torch's own runs on CUDA only and has no double backward."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gandist.contract.collective import all_sum


class SyncBatchNorm(_BatchNorm):
    """Batch norm whose mean and variance are those of all ranks' rows, whatever the size of each rank's share.

    Every step is a differentiable torch operation or `all_sum`, so it works on CPU and under gradient penalties.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"batch norm takes at least 2 dimensions, (B, C, …), not {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalises (B, C, …) over all but C."""
        self._check_input_dim(input)
        if not self.training and self.running_mean is not None:
            return super().forward(input)
        axes = [0, *range(2, input.dim())]
        shape = [1, -1] + [1] * (input.dim() - 2)
        wide = input if input.dtype == torch.float64 else input.float()
        count = wide.new_tensor([wide.numel() / wide.shape[1]])
        # Two sums instead of one of squares: the variance of large means stays accurate.
        totals = all_sum(torch.cat([wide.sum(axes), count]))
        rows = totals[-1].detach()
        mean = totals[:-1] / rows
        centred = wide - mean.view(shape)
        variance = all_sum(centred.square().sum(axes)) / rows
        self._remember(mean.detach(), variance.detach(), rows)
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, rows: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        unbiased = variance * rows / (rows - 1)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)


def synchronise(module: nn.Module) -> nn.Module:
    """The module with every batch norm in it replaced by a synchronised one that holds the same tensors."""
    if isinstance(module, _BatchNorm) and not isinstance(module, SyncBatchNorm):
        twin = SyncBatchNorm(
            module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats
        )
        twin.load_state_dict(module.state_dict())
        return twin.train(module.training)
    for name, child in module.named_children():
        replaced = synchronise(child)
        if replaced is not child:
            setattr(module, name, replaced)
    return module
