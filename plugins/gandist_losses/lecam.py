"""The regularizer for little data."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gandist import Facts, Memory, Regularizer, Seen, Turn


class LeCam(Regularizer):
    """Keeps logits near a moving mean of the other kind's (Tseng et al. 2021, equation 5).

    The means are those of the global batches before this turn, without their start at zero: the first turn has no
    mean to compare with, and its term is 0.
    """

    name: ClassVar[str] = "lecam"

    weight: float = Field(default=0.3, ge=0, allow_inf_nan=False)
    """Lambda; 0.1 to 0.5 in the paper for BigGAN and 3e-7 with StyleGAN2's much larger logits."""
    decay: float = Field(default=0.99, ge=0.0, lt=1.0)
    """What stays of the means after a turn."""

    def memory(self, facts: Facts) -> dict[str, Tensor]:
        """Decaying sums of the mean logits, and of the ones that they are means of."""
        return {name: torch.zeros((), dtype=torch.float64) for name in ("real", "fake", "mass")}

    def discriminator(self, turn: Turn) -> Tensor:
        """E (D(x) - α_fake)² + E (D(G(z)) - α_real)²."""
        memory, known = turn.memory(self), (turn.memory(self).mass > 0).to(turn.dtype)
        mass = memory.mass.clamp_min(1e-12)
        real, fake = (memory.real / mass).to(turn.dtype), (memory.fake / mass).to(turn.dtype)
        apart = (turn.on_real.logits - fake).square().mean() + (turn.on_fake.logits - real).square().mean()
        return apart * known

    def update(self, memory: Memory, seen: Seen) -> None:
        """Moves the means towards those of the turn's global batch."""
        if seen.role == "discriminator":
            for name in ("real", "fake"):
                memory.get_buffer(name).lerp_(seen[name].double().mean(), 1.0 - self.decay)
            memory.mass.lerp_(torch.ones_like(memory.mass), 1.0 - self.decay)
