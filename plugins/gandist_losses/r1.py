"""The zero-centred gradient penalty on real samples."""

from typing import ClassVar

from torch import Tensor

from gandist import Regularizer, Turn, slopes


class R1(Regularizer):
    """Half the squared slope of the discriminator at real samples (Mescheder et al. 2018, equation 9).

    `weight` is the paper's gamma, 10 there for natural images; with `every: 16` it is StyleGAN2's lazy regularization.
    The slope is that of the forward which the loss makes anyway.
    """

    name: ClassVar[str] = "r1"
    differentiates: ClassVar[bool] = True

    def discriminator(self, turn: Turn) -> Tensor:
        """E |∇D(x)|² / 2, the square summed over C, H and W."""
        return 0.5 * slopes(turn.on_real.logits, turn.real).square().sum(1).mean()
