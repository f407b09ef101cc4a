"""A classifier that changes evenly between samples."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import log_softmax

from gandist import Facts, Memory, Regularizer, Seen, Turn


class InterpolationConsistency(Regularizer):
    """Of a mixture of two samples, asks for the same mixture of their classes (Verma et al. 2019, equation 1).

    The classes are those that the smoothed discriminator gives to both samples as they are; the discriminator sees the
    mixture augmented. A sample's partner is the next row of the global batch, and its own share is uniform in
    [1/2, 1). Apart from the paper, classes are compared by cross entropy, and may be sharpened and aligned.
    The weight should grow from 0 in the beginning, when the teacher knows nothing yet: `anneal`.
    """

    name: ClassVar[str] = "interpolation-consistency"
    uses_classes: ClassVar[bool] = True
    couples: ClassVar[bool] = True
    smooths: ClassVar[tuple[str, ...]] = ("discriminator",)

    temperature: float = Field(default=0.5, gt=0.0, le=1.0)
    """Sharpens the teacher's classes, p^(1/T) over its sum (Berthelot et al. 2019, MixMatch, equation 7); 1 leaves
    them."""
    align: bool = True
    """Whether the teacher's classes are divided by their moving mean, so that all are as frequent (Berthelot et al.
    2020, ReMixMatch, section 3.1, for classes of equal size). Turn it off where some classes are rarer than others."""
    decay: float = Field(default=0.99, ge=0.0, lt=1.0)
    """What stays of that mean after a turn."""

    def refuse(self, facts: Facts) -> str | None:
        """Data without at least two classes."""
        return None if facts.classes > 1 else "needs samples of at least 2 classes"

    def memory(self, facts: Facts) -> dict[str, Tensor]:
        """The moving mean of the teacher's sharpened classes (K,), which are as frequent in the beginning."""
        return {"frequencies": torch.full((facts.classes,), 1.0 / facts.classes, dtype=torch.float64)}

    def discriminator(self, turn: Turn) -> Tensor:
        """-E Σ q log p(y | λ x + (1 - λ) x'), q = λ p'(y | x) + (1 - λ) p'(y | x') of the smoothed p', a constant."""
        real = turn.real.detach()
        with torch.no_grad():
            logits = turn.smoothed["discriminator"](real, turn.labels).classes.to(turn.dtype)
            teacher = (logits / self.temperature).softmax(1)
            turn.remember(self.key, teacher)
            if self.align:
                # A class that the teacher never gives must not become 0 / 0.
                teacher = teacher / turn.memory(self).frequencies.to(teacher).clamp_min(1e-6)
                teacher = teacher / teacher.sum(1, keepdim=True)
            share = 0.5 + 0.5 * turn.noise(self.key).uniform(len(turn), 1)
            target = share * teacher + (1.0 - share) * _next(teacher, turn)
            share = share.view(-1, *[1] * (real.dim() - 1))
            mixed = share * real + (1.0 - share) * _next(real, turn)
        classes = turn.judge(mixed, turn.labels).classes
        assert classes is not None, "check has asked for them"
        return turn.everyone(-(target * log_softmax(classes.to(turn.dtype), 1)).sum(1)).mean()

    def update(self, memory: Memory, seen: Seen) -> None:
        """Moves the mean towards that of the turn's global batch, if this regularizer had a part in it."""
        if self.key in seen:
            memory.frequencies.lerp_(seen[self.key].double().mean(0), 1.0 - self.decay)


def _next(rows: Tensor, turn: Turn) -> Tensor:
    """Of each row the one after it in the global batch, of the last one the first."""
    return turn.everyone(rows).roll(-1, 0)[turn.span.start : turn.span.stop]
