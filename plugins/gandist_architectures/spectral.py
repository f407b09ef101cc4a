"""Spectral norm (Miyato et al. 2018) that can be compiled."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm


@torch.library.custom_op("gandist::power_iteration", mutates_args=("u", "v"))
def power_iteration(matrix: Tensor, u: Tensor, v: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """One step towards the singular vectors of the largest singular value, in place, and copies of them.

    matrix: (H, W). u: (H,). v: (W,).
    """
    F.normalize(torch.mv(matrix, v), dim=0, eps=eps, out=u)
    F.normalize(torch.mv(matrix.t(), u), dim=0, eps=eps, out=v)
    return u.clone(), v.clone()


@power_iteration.register_fake
def _(matrix: Tensor, u: Tensor, v: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return torch.empty_like(u), torch.empty_like(v)


class SpectralNorm(_SpectralNorm):
    """torch's, one power iteration a training forward and none at evaluation.

    Compiled, torch's own keeps the vectors themselves for the backward pass in spite of its copies, so that a second
    forward, of fakes after real samples, destroys what the first one needs. An operation that the compiler does not
    look into hands out copies that are really others.
    """

    def forward(self, weight: Tensor) -> Tensor:
        """The weight divided by its largest singular value."""
        if not (self.training and torch.compiler.is_compiling()):
            return super().forward(weight)
        matrix = weight.flatten(1)
        u, v = power_iteration(matrix.detach(), self._u, self._v, self.eps)
        return weight / torch.vdot(u, torch.mv(matrix, v))


def spectral(module: nn.Module, norm: str) -> nn.Module:
    """The module, its weight divided by its largest singular value if `norm` is "spectral".

    For layers whose weight has the outputs first: linear, convolutions, embeddings.
    """
    if norm == "spectral":
        weight = module.get_parameter("weight")
        parametrize.register_parametrization(module, "weight", SpectralNorm(weight, n_power_iterations=1, dim=0))
    return module
