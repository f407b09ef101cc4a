"""A classifier that agrees with the average of its past."""

from typing import ClassVar

import torch
from torch import Tensor

from gandist import Facts, Regularizer, Turn


class MeanTeacher(Regularizer):
    """Penalises classes that differ from those of the smoothed discriminator (Tarvainen & Valpola 2017, section 2).

    The teacher sees the samples as they are; the discriminator sees them augmented, with its own noise and dropout.
    The weight should grow from 0 in the beginning, when the teacher knows nothing yet: `anneal`.
    """

    name: ClassVar[str] = "mean-teacher"
    uses_classes: ClassVar[bool] = True
    smooths: ClassVar[tuple[str, ...]] = ("discriminator",)

    def refuse(self, facts: Facts) -> str | None:
        """Data without at least two classes."""
        return None if facts.classes > 1 else "needs samples of at least 2 classes"

    def discriminator(self, turn: Turn) -> Tensor:
        """E |p(y | x) - p'(y | x)|², with the teacher's p' as a constant."""
        with torch.no_grad():
            teacher = turn.smoothed["discriminator"](turn.real.detach(), turn.labels).classes
        assert turn.on_real.classes is not None, "check has asked for them"
        own = turn.on_real.classes.to(turn.dtype).softmax(1)
        return (own - teacher.to(turn.dtype).softmax(1)).square().sum(1).mean()
