"""StyleGAN's loss."""

from typing import ClassVar

from pydantic import SerializeAsAny

from gandist import Regularizer
from gandist_losses.non_saturating import NonSaturating
from gandist_losses.r1 import R1


class Logistic(NonSaturating):
    """The non-saturating loss as StyleGAN2 plays it, with lazy R1 (Karras et al. 2020, sections 3.1 and B).

    StyleGAN2 adds `path-length` to it: regularizers: [{name: r1, weight: 10, every: 16}, {name: path-length}].
    """

    name: ClassVar[str] = "logistic"

    regularizers: tuple[SerializeAsAny[Regularizer], ...] = (R1(weight=10.0, every=16),)
    """Terms added to the players' totals; a list in a config replaces this one."""
