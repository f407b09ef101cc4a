"""Where the codes live that a generator's samples are moved through: its latents, or its styles where it has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gandist.errors import ConfigError
from gandist.training.sampling import BLOCK, draw, to_bytes
from gandist.using.trained import Trained

_RANGE = re.compile(r"\s*(\d+)(?:\.\.(\d+))?\s*")


@contextmanager
def still(device: torch.device) -> Iterator[None]:
    """Noise inside networks is the same each time; torch's random state stays as it was."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


def require_images(trained: Trained, what: str) -> None:
    """Raises ConfigError if the generator makes points, of which there is nothing to show."""
    if not trained.facts.images:
        raise ConfigError(
            f"{trained.path}: {what} shows images, and this generator makes points; of gandist interpret "
            "only scores works on points"
        )


class Space:
    """Codes (B, L, D) of a generator, and the samples that it makes of them.

    With `map` and `synthesize` the codes are styles, one for each of L layers; else latents, with L = 1. label: of all
    samples; by default that of sample 0 of `seed`, if the generator heeds labels. layers: the styles that are moved, as
    "0..3" or "0,2,5..7"; all by default. Raises ConfigError for what this generator does not have.
    """

    def __init__(self, trained: Trained, seed: int = 0, label: int | None = None, layers: str | None = None):
        self.trained, self.network, self.seed = trained, trained.generator, seed
        require_images(trained, "a sheet of directions")
        if label is not None:
            trained.require_label(label)
        latents, labels = draw(self.network, seed, 0, 1, trained.facts.classes, trained.device)
        self.label = int(labels[0]) if label is None and trained.conditional else label
        self.styled = hasattr(self.network, "map") and hasattr(self.network, "synthesize")
        if not self.styled and not isinstance(latents, Tensor):
            raise ConfigError(f"{trained.path}: directions need plain latents, and this generator draws several parts")
        self.name = "styles" if self.styled else "latents"
        with torch.no_grad():
            codes = self._of(latents, self._labels(1))
        # Latents may be a picture each; their codes are flat.
        self._shape = codes.shape[1:]
        self.depth, self.width = (codes.shape[1], codes.shape[2]) if self.styled else (1, codes[0].numel())
        self.layers = self._chosen(layers)

    def _chosen(self, layers: str | None) -> tuple[int, ...]:
        if layers is None:
            return tuple(range(self.depth))
        where = f"--layers {layers}"
        if not self.styled:
            name = self.trained.config.architecture.name
            raise ConfigError(f"{where}: the generator of {name} has no style per layer; leave --layers out")
        chosen: set[int] = set()
        for part in layers.split(","):
            if (match := _RANGE.fullmatch(part)) is None:
                raise ConfigError(f"{where}: write numbers and ranges of layers, e.g. 0..3 or 0,2,5..7")
            first, last = int(match[1]), int(match[2] or match[1])
            if not first <= last < self.depth:
                raise ConfigError(f"{where}: this generator has layers 0 to {self.depth - 1}")
            chosen |= set(range(first, last + 1))
        return tuple(sorted(chosen))

    def _labels(self, n: int) -> Tensor | None:
        classes = self.trained.facts.classes
        # A generator that heeds no labels is given some all the same where the data have them, as in training.
        return torch.full((n,), self.label or 0, device=self.trained.device) if classes else None

    def _of(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        return self.network.map(latents, labels) if self.styled else latents  # type: ignore[operator]

    @torch.no_grad()
    def codes(self, n: int, seed: int) -> Iterator[Tensor]:
        """Codes (B, L, D) of the samples 0 to n-1 of `seed`, at most 64 at a time."""
        for start in range(0, n, BLOCK):
            stop = min(n, start + BLOCK)
            latents, _ = draw(self.network, seed, start, stop, 0, self.trained.device)
            with still(self.trained.device):
                codes = self._of(latents, self._labels(stop - start))
            yield codes.reshape(len(codes), self.depth, self.width)

    def run(self, codes: Tensor) -> Tensor:
        """What the generator makes of codes (B, L, D), as it returns it."""
        codes = codes.reshape(len(codes), *self._shape)
        with still(self.trained.device):
            if self.styled:
                return self.network.synthesize(codes)  # type: ignore[operator]
            return self.network(codes, self._labels(len(codes)))

    @torch.no_grad()
    def render(self, codes: Tensor) -> Tensor:
        """The samples of codes (B, L, D): uint8 (B, C, H, W) on the CPU."""
        return torch.cat([to_bytes(self.run(part)).cpu() for part in codes.split(BLOCK)])

    def moved(self, codes: Tensor, vector: Tensor) -> Tensor:
        """Codes (B, L, D) with a vector (D,) added in the chosen layers."""
        chosen = torch.zeros(self.depth, 1, dtype=codes.dtype, device=codes.device)
        chosen[list(self.layers)] = 1
        return codes + chosen * vector.to(codes)

    def rows(self, codes: Tensor) -> Tensor:
        """Codes (B, L, D) as one row each (B, D): the mean of the chosen layers."""
        return codes[:, list(self.layers)].mean(1)
