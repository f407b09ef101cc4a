"""The regularised relativistic loss."""

from typing import ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from gandist import Anneal, Loss, Turn, slopes


class R3GAN(Loss):
    """Each real sample is judged beside a fake one, with small slopes on both (Huang et al. 2024, equations 2 to 4).

    Sample i of a batch is paired with fake i, of the same label if there are labels. Every turn of the discriminator
    has both penalties, R1 and R2, unless γ is 0.
    """

    name: ClassVar[str] = "r3gan"
    differentiates: ClassVar[bool] = True

    gamma: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight γ of the two zero-centred penalties; the paper has 0.05 (CIFAR-10) to 150 (FFHQ-256). 0 leaves them to the
    regularizers `r1` and `r2`, which can be lazy (`every`)."""
    anneal: Anneal | None = None
    """How γ changes with the images seen; null keeps it."""

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """E softplus(D(G(z)) - D(x)) + γ/2 · E |∇D(x)|² + γ/2 · E |∇D(G(z))|²."""
        real, fake = turn.on_real.logits, turn.on_fake.logits
        pairing = softplus(fake - real).mean()
        gamma = self.anneal.value(self.gamma, turn.images) if self.anneal else self.gamma
        if not gamma:
            return {"total": pairing}
        r1 = 0.5 * slopes(real, turn.real).square().sum(1).mean()
        r2 = 0.5 * slopes(fake, turn.fake).square().sum(1).mean()
        return {"total": pairing + gamma * (r1 + r2), "pairing": pairing, "r1": r1, "r2": r2}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """E softplus(D(x) - D(G(z)))."""
        return {"total": softplus(turn.on_real.logits - turn.on_fake.logits).mean()}
