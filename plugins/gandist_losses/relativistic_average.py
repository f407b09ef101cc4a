"""Real samples should look more real than the average fake, and the other way round."""

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from gandist import Loss, Turn


class RelativisticAverage(Loss):
    """Each logit is judged beside the mean one of the other kind (Jolicoeur-Martineau 2018, RaSGAN, equations 6 to 9).

    The means are those of the global batch, so that the number of workers changes nothing; micro-batches would.
    """

    name: ClassVar[str] = "relativistic-average"
    aliases: ClassVar[tuple[str, ...]] = ("ragan",)
    couples: ClassVar[bool] = True

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """-E log σ(D(x) - E D(G(z))) - E log(1 - σ(D(G(z)) - E D(x)))."""
        over_fake, over_real = self._relative(turn)
        return {"total": softplus(-over_fake).mean() + softplus(over_real).mean()}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """The same with real and fake exchanged."""
        over_fake, over_real = self._relative(turn)
        return {"total": softplus(over_fake).mean() + softplus(-over_real).mean()}

    def _relative(self, turn: Turn) -> tuple[Tensor, Tensor]:
        """Logits of all ranks: real ones over the mean fake one, fake ones over the mean real one."""
        real, fake = turn.everyone(turn.on_real.logits), turn.everyone(turn.on_fake.logits)
        return real - fake.mean(), fake - real.mean()
