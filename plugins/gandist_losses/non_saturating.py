"""The generator's loss that the original paper trains with."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from gandist import Loss, Turn


class NonSaturating(Loss):
    """The generator maximises log D(G(z)) instead (Goodfellow et al. 2014, section 3): strong gradients from the start.

    The discriminator's loss is that of `minimax`. All from logits, finite for every logit.
    """

    name: ClassVar[str] = "non-saturating"

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """-E log D(x) - E log(1 - D(G(z)))."""
        return {"total": softplus(-turn.on_real.logits).mean() + softplus(turn.on_fake.logits).mean()}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """-E log D(G(z))."""
        return {"total": softplus(-turn.on_fake.logits).mean()}
