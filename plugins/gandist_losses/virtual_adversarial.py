"""A classifier that gives the same answer in the worst direction nearby."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from gandist import Facts, Regularizer, Turn


class VirtualAdversarial(Regularizer):
    """Penalises classes that change under the small step that changes them most (Miyato et al. 2018, equation 8).

    The step is found by the power method with differences (Algorithm 1). Samples are taken as they are, without
    augmentations; noise inside the discriminator is the same on both sides, so that the step alone makes a difference.
    """

    name: ClassVar[str] = "virtual-adversarial"
    uses_classes: ClassVar[bool] = True

    radius: float = Field(default=4.0, gt=0, allow_inf_nan=False)
    """Euclidean length ε of the step, for samples in [-1, 1]; the paper has 2 for MNIST in [0, 1], which is 4 here."""
    difference: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """Length ξ of the steps by which the direction is found."""
    iterations: int = Field(default=1, ge=1, le=8)
    """Of the power method."""

    def refuse(self, facts: Facts) -> str | None:
        """Data without at least two classes."""
        return None if facts.classes > 1 else "needs samples of at least 2 classes"

    def discriminator(self, turn: Turn) -> Tensor:
        """E KL(p(y | x) ‖ p(y | x + r)), with p(y | x) as a constant."""
        real = turn.real.detach()
        with torch.no_grad():
            here = self._log_classes(turn, real)
        step = _unit(turn.noise(self.key).normal(len(real), *real.shape[1:]))
        for _ in range(self.iterations):
            step.requires_grad_()
            apart = _divergence(here, self._log_classes(turn, real + self.difference * step)).sum()
            (slope,) = torch.autograd.grad(apart, step)
            step = _unit(slope)
        return _divergence(here, self._log_classes(turn, real + self.radius * step)).mean()

    def _log_classes(self, turn: Turn, samples: Tensor) -> Tensor:
        # The random state is put back, so that every call draws the same noise inside.
        with torch.random.fork_rng([turn.device] if turn.device.type == "cuda" else []):
            return log_softmax(turn.players["discriminator"](samples, turn.labels).classes.to(turn.dtype), 1)


def _divergence(here: Tensor, there: Tensor) -> Tensor:
    """KL of rows of log-probabilities, (B,)."""
    return kl_div(there, here, reduction="none", log_target=True).sum(1)


def _unit(steps: Tensor) -> Tensor:
    """Each row with Euclidean length 1, or 0 if it is 0."""
    flat = steps.flatten(1)
    # Scaled first: squares of small slopes would be 0 in float32.
    flat = flat / flat.abs().amax(1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
    return (flat / flat.norm(dim=1, keepdim=True).clamp_min(0.5)).view_as(steps)
