"""The zero-centred gradient penalty on generated samples."""

from typing import ClassVar

from torch import Tensor

from gandist import Regularizer, Turn, slopes


class R2(Regularizer):
    """Half the squared slope of the discriminator at generated samples (Mescheder et al. 2018, equation 10)."""

    name: ClassVar[str] = "r2"
    differentiates: ClassVar[bool] = True

    def discriminator(self, turn: Turn) -> Tensor:
        """E |∇D(G(z))|² / 2, the square summed over C, H and W."""
        return 0.5 * slopes(turn.on_fake.logits, turn.fake).square().sum(1).mean()
