"""The value function of the original paper."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from gandist import Loss, Turn


class Minimax(Loss):
    """Both players on one value function (Goodfellow et al. 2014, equation 1); it saturates for the generator.

    With D = sigmoid(logit): log D = -softplus(-logit) and log(1 - D) = -softplus(logit), finite for every logit. Where
    the discriminator is sure of the fakes, the generator's gradient, -sigmoid(logit), vanishes; `non-saturating` is the
    same paper's cure.
    """

    name: ClassVar[str] = "minimax"
    aliases: ClassVar[tuple[str, ...]] = ("vanilla",)

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """-E log D(x) - E log(1 - D(G(z)))."""
        return {"total": softplus(-turn.on_real.logits).mean() + softplus(turn.on_fake.logits).mean()}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """E log(1 - D(G(z))), at most 0."""
        return {"total": -softplus(turn.on_fake.logits).mean()}
