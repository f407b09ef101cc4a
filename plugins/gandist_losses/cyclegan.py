"""CycleGAN: translation between two domains without pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from gandist import Facts, Loss, Memory, Seen, Turn
from gandist_losses.translation import ENTRIES, part, squares, strips, translated

DOMAINS = ("a", "b")


class CycleGAN(Loss):
    """Least squares in both domains; translated there and back an image is itself again (Zhu et al. 2017, equation 3).

    Reads "a" and "b", which need not be pairs. The discriminator also judges earlier fakes from a pool (section 4), of
    which it sees the state before the turn.
    """

    name: ClassVar[str] = "cyclegan"
    critic: ClassVar[bool] = True
    entries: ClassVar[Mapping[str, str]] = ENTRIES
    targets: ClassVar[tuple[str, ...]] = ("b", "a")
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "generator": ("to_a", "to_b"),
        "discriminator": ("on_a", "on_b"),
    }

    cycle: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    """Weight λ of the L1 distance between an image and itself, translated there and back."""
    identity: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    """Weight, as a share of λ, of the L1 distance between an image of a domain and its translation to that domain
    (section 5.2); keeps colours."""
    pool: int = Field(default=50, ge=0)
    """Earlier fakes of each domain that are kept; 0 keeps none."""

    def memory(self, facts: Facts) -> dict[str, Tensor]:
        """The pools, uint8 (pool, C, H, W), and how many images they hold."""
        if not self.pool:
            return {}
        pools = {domain: torch.zeros(self.pool, *facts.shape, dtype=torch.uint8) for domain in DOMAINS}
        return {**pools, "held": torch.zeros((), dtype=torch.int64)}

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """½ E (D(x) - 1)² + ½ E D(F)², F a fake or, with a chance of one half, an earlier one; summed over domains."""
        with torch.no_grad():
            fakes = {to: self._translated(turn, turn[_other(to)], to) for to in DOMAINS}
        critics, terms, judged = turn.players["discriminator"], {}, {"real": [], "fake": []}
        for domain in DOMAINS:
            critic = part(critics, f"on_{domain}")
            real = turn.judge(turn[domain], critic=critic).logits
            fake = turn.judge(self._pooled(turn, domain, fakes[domain]), critic=critic).logits
            terms[f"domain_{domain}"] = 0.5 * (squares(real, 1.0) + squares(fake, 0.0))
            judged["real"].append(real)
            judged["fake"].append(fake)
        for name, logits in judged.items():
            turn.remember(name, torch.stack(logits, 1))
        return {"total": terms["domain_a"] + terms["domain_b"], **terms}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """E (D_B(G(a)) - 1)² + λ E |F(G(a)) - a| + λ_id λ E |G(b) - b|, and the same of the other direction."""
        adversarial, cycle, identity = [], [], []
        for to in DOMAINS:
            given, own = turn[_other(to)], turn[to]
            if self.identity and self.cycle:
                # Together, as the networks treat every image by itself.
                fake, same = self._translated(turn, torch.cat([given, own]), to).split(len(given))
                identity.append((same - own).abs().mean())
            else:
                fake = self._translated(turn, given, to)
            verdict = turn.judge(fake, critic=part(turn.players["discriminator"], f"on_{to}"))
            adversarial.append(squares(verdict.logits, 1.0))
            cycle.append((self._translated(turn, fake, _other(to)) - given).abs().mean())
        terms = {"adversarial": torch.stack(adversarial).sum(), "cycle": torch.stack(cycle).sum()}
        total = terms["adversarial"] + self.cycle * terms["cycle"]
        if identity:
            terms["identity"] = torch.stack(identity).sum()
            total = total + self.identity * self.cycle * terms["identity"]
        return {"total": total, **terms}

    def translate(self, players: Mapping[str, nn.Module], images: Tensor, to: str) -> Tensor:
        """See `Translates`."""
        return translated(players, images, to)

    def show(self, players: Mapping[str, nn.Module], rows: Mapping[str, Tensor]) -> Tensor:
        """Input, translation, and translation back, for both directions; see `Shows`."""
        return strips(players, rows, self.targets)

    def _translated(self, turn: Turn, images: Tensor, to: str) -> Tensor:
        return translated(turn.players, images, to).to(turn.dtype)

    def _pooled(self, turn: Turn, domain: str, fakes: Tensor) -> Tensor:
        """The fakes, about half of them replaced by earlier ones once the pool is full."""
        if not self.pool:
            return fakes
        memory = turn.memory(self)
        draws = turn.noise(f"pool {domain}").uniform(len(turn), 2)
        turn.remember(f"{domain} draws", draws)
        turn.remember(f"{domain} fakes", _to_bytes(fakes))
        rows = turn.span.start + torch.arange(len(turn), device=fakes.device)
        slots, filling, swap = self._places(memory, rows, draws)
        earlier = getattr(memory, domain)[slots].to(turn.dtype).div(127.5).sub(1)
        return torch.where((swap & ~filling)[:, None, None, None], earlier, fakes)

    def _places(self, memory: Memory, rows: Tensor, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For rows of the global batch: their slots in the pool, whether these are still empty, and whether row and
        slot change places. Without branches on values, for which a GPU would be waited for."""
        free = memory.held + rows
        filling = free < self.pool
        slots = (draws[:, 1] * self.pool).long().clamp_max(self.pool - 1)
        return torch.where(filling, free, slots), filling, draws[:, 0] < 0.5

    def update(self, memory: Memory, seen: Seen) -> None:
        """Puts fakes of the discriminator's turn into the pool: all while it fills, then those that were swapped."""
        if seen.role != "discriminator":
            return
        drawn = {domain: seen[f"{domain} draws"] for domain in DOMAINS}
        for domain, draws in drawn.items():
            fakes, pool = seen[f"{domain} fakes"], getattr(memory, domain)
            rows = torch.arange(len(fakes), device=fakes.device)
            slots, filling, swap = self._places(memory, rows, draws)
            # One after the other: two rows may have drawn the same slot.
            for row in range(len(fakes)):
                slot = slots[row : row + 1]
                kept = torch.where((filling | swap)[row], fakes[row : row + 1], pool[slot])
                pool.index_copy_(0, slot, kept)
        memory.held.add_(len(drawn["a"])).clamp_(max=self.pool)


def _other(domain: str) -> str:
    return "a" if domain == "b" else "b"


def _to_bytes(images: Tensor) -> Tensor:
    return images.detach().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
