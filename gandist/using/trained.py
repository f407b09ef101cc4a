"""A trained generator in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gandist.config.schema import Config
from gandist.contract.facts import Facts
from gandist.errors import ConfigError
from gandist.tracking.provenance import Provenance
from gandist.training.sampling import BLOCK, draw, heeds_labels, samples


class Truncated(nn.Module):
    """A generator that makes less various, more typical samples: as its own `truncated(latents, labels, psi)` does, or
    from standard normal latents scaled by psi.

    Raises ConfigError when it has no such method and draws latents that are not one tensor.
    """

    def __init__(self, generator: nn.Module, psi: float):
        super().__init__()
        self.generator, self.psi = generator, psi
        self._own = hasattr(generator, "truncated")

    def draw(self, noise: Any, n: int) -> Any:
        """Latents, scaled unless the generator has a way of its own."""
        latents = self.generator.draw(noise, n)  # type: ignore[operator]
        if self._own:
            return latents
        if not isinstance(latents, Tensor):
            raise ConfigError("truncation scales plain latents, but this generator draws several parts; leave it out")
        return latents * self.psi

    def forward(self, latents: Any, labels: Tensor | None = None) -> Tensor:
        """What the generator makes of them."""
        if self._own:
            return self.generator.truncated(latents, labels, self.psi)  # type: ignore[operator]
        return self.generator(latents, labels)


@dataclass(frozen=True, eq=False)
class Trained:
    """What `gandist.load` returns.

    path: what was loaded, a run or a checkpoint. step: of training. facts: of the data set it was trained on.
    generator: the smoothed one, in eval mode. read_player: reads another player's weights. names: of all players.
    about: what its newest checkpoint says of the training: `run_id`, `images`, `versions`; what it does not say is left
    out.
    """

    path: Path
    config: Config
    facts: Facts
    step: int
    generator: nn.Module
    read_player: Callable[[str], nn.Module]
    names: tuple[str, ...] = ("generator",)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the generator is."""
        return next(self.generator.parameters()).device

    @cached_property
    def discriminator(self) -> nn.Module:
        """The discriminator in eval mode; needs a checkpoint."""
        return self.read_player("discriminator").to(self.device)

    @cached_property
    def players(self) -> dict[str, nn.Module]:
        """All players by name, in eval mode, the generator the smoothed one; needs a checkpoint."""
        others = {name: self.read_player(name).to(self.device) for name in self.names if name != "generator"}
        return {"generator": self.generator, **others}

    def provenance(
        self, seed: int | None, *, mixed: bool = False, more: Mapping[str, str | int] | None = None
    ) -> Provenance:
        """What files of its samples say of themselves."""
        return Provenance(self.about.get("run_id"), self.config.run.name, self.step, seed, mixed, more or {})

    @torch.no_grad()
    def render(self, latents: Any, labels: Tensor | None) -> Tensor:
        """What the generator makes of these latents, as it returns it; noise inside it is the same each time."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(0)
            return self.generator(latents, labels)

    @cached_property
    def conditional(self) -> bool:
        """Whether the generator heeds labels: two of them turn the same latents into different samples."""
        return heeds_labels(self.generator, self.facts, self.device)

    def batches(
        self, n: int, seed: int = 0, label: int | None = None, start: int = 0, truncation: float | None = None
    ) -> Iterator[Tensor]:
        """The same samples as `sample`, in batches of at most 64, on the CPU."""
        generator = self._with(n, label, start, truncation)
        made = samples(generator, self.facts, seed=seed, start=start, stop=start + n, device=self.device, label=label)
        return (batch.cpu() for batch in made)

    def sample(
        self, n: int, seed: int = 0, label: int | None = None, start: int = 0, truncation: float | None = None
    ) -> Tensor:
        """Samples `start` to `start + n` of `seed`: uint8 (n, C, H, W), or points float32 (n, D).

        Sample i of a seed is the same whatever n is. label: of this class only. truncation: in (0, 1], how far
        from the typical sample; see `Truncated`. Raises ConfigError for arguments that this generator cannot serve.
        """
        return torch.cat(list(self.batches(n, seed, label, start, truncation)))

    def labels(self, n: int, seed: int = 0, label: int | None = None, start: int = 0) -> Tensor:
        """The labels that `sample` asks a conditional generator for, int64 (n,)."""
        if label is not None:
            return torch.full((n,), label)
        parts, stop = [], start + n
        while start < stop:
            end = min(stop, (start // BLOCK + 1) * BLOCK)
            parts.append(draw(self.generator, seed, start, end, self.facts.classes, self.device)[1])
            start = end
        return torch.cat(parts).cpu()

    def _with(self, n: int, label: int | None, start: int, truncation: float | None) -> nn.Module:
        if n < 1 or start < 0:
            raise ConfigError(f"samples are counted from 0, at least one: not {n} from {start}")
        if label is not None:
            self.require_label(label)
        if truncation is None:
            return self.generator
        if not 0 < truncation <= 1:
            raise ConfigError(f"truncation should be above 0 and at most 1, is {truncation:g}")
        return Truncated(self.generator, truncation).eval()

    def require_label(self, label: int) -> None:
        """Raises ConfigError if the generator cannot be asked for that class."""
        if not self.conditional:
            raise ConfigError(f"{self.path}: this generator knows no labels, so it cannot be asked for label {label}")
        if not 0 <= label < self.facts.classes:
            raise ConfigError(f"label {label} is not there; {self.path} knows labels 0 to {self.facts.classes - 1}")
