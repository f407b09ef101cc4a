"""The smallest components with which a method can be played: no plugin has to be installed to check another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import one_hot, silu, softplus

from gandist.contract.components import Architecture, Dataset, Loss, Source
from gandist.contract.facts import Facts
from gandist.contract.noise import Noise
from gandist.contract.optimizing import Optimizer
from gandist.contract.turn import Turn, Verdict


class TinyGenerator(nn.Module):
    """Two dense layers; the label, if there is one, is a part of the input."""

    latent = 5

    def __init__(self, facts: Facts):
        super().__init__()
        self.shape, self.classes = facts.shape, facts.classes
        self.hidden = nn.Linear(self.latent + self.classes, 12)
        self.out = nn.Linear(12, math.prod(self.shape))

    def draw(self, noise: Noise, n: int) -> Tensor:
        """Latents (n, 5)."""
        return noise.normal(n, self.latent)

    def map(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Styles (B, 1, 12), as generators have that take a path-length penalty."""
        if labels is not None:
            latents = torch.cat([latents, one_hot(labels, self.classes).to(latents)], dim=1)
        return silu(self.hidden(latents)).unsqueeze(1)

    def synthesize(self, styles: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1], or points (B, D)."""
        out = self.out(styles.squeeze(1)).unflatten(1, self.shape)
        return out.tanh() if len(self.shape) == 3 else out

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """What the styles of these latents make."""
        return self.synthesize(self.map(latents, labels))


class TinyDiscriminator(nn.Module):
    """Two dense layers, smooth, so that every derivative is; a label adds its own direction to the output."""

    def __init__(self, facts: Facts):
        super().__init__()
        self.classes = facts.classes
        self.hidden = nn.Linear(math.prod(facts.shape), 12)
        self.out = nn.Linear(12, 1 + self.classes)

    def forward(self, images: Tensor, labels: Tensor | None) -> Verdict:
        """Logits (B,), class logits (B, classes) if there are classes, and features (B, 12)."""
        features = silu(self.hidden(images.flatten(1)))
        logits = self.out(features)
        own = logits[:, 0]
        if labels is not None:
            own = own + logits[:, 1:].gather(1, labels[:, None])[:, 0]
        return Verdict(own, logits[:, 1:] if self.classes else None, features)


class TinyPlayers(Architecture):
    """A generator and a discriminator of two dense layers each, for images and points, with labels and without."""

    name: ClassVar[str] = "tiny-players"

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """Both players."""
        return {"generator": TinyGenerator(facts), "discriminator": TinyDiscriminator(facts)}


class RandomSource(Source):
    """Random bytes, or normal points, with random labels. few: of so many the batch has some beside the others."""

    def __init__(self, facts: Facts, few: int = 0, entries: tuple[str, ...] = ("real",)):
        self.facts, self._few, self.entries = facts, few, entries
        generator = torch.Generator().manual_seed(0)
        self._samples = {entry: self._drawn((facts.size, *facts.shape), generator) for entry in entries}
        self._labels = torch.randint(max(1, facts.classes), (facts.size,), generator=generator)

    def _drawn(self, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
        if self.facts.images:
            return torch.randint(256, size, generator=generator, dtype=torch.uint8)
        return torch.randn(size, generator=generator)

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Samples and labels."""
        chosen = torch.tensor(indices)
        labels = {"labels": self._labels[chosen]} if self.facts.classes else {}
        return {**{entry: rows[chosen] for entry, rows in self._samples.items()}, **labels}

    def streams(self) -> Mapping[str, Source]:
        """The samples, and those of whose labels training is told apart."""
        return {"": self, **({"labelled": FewLabelled(self, self._few)} if self._few else {})}


class FewLabelled(Source):
    """The first samples of another source, as the entries `labelled` and `labelled_classes`."""

    def __init__(self, source: Source, count: int):
        self._source, self.facts = source, replace(source.facts, size=count)

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Samples and labels."""
        rows = self._source.read(indices)
        return {"labelled": rows["real"], "labelled_classes": rows["labels"]}


class RandomSamples(Dataset):
    """Samples without any structure, of any shape."""

    name: ClassVar[str] = "random-samples"

    shape: tuple[int, ...] = (3, 4, 4)
    """Of one sample: (C, H, W) for images, (D,) for points."""
    classes: int = Field(default=3, ge=0)
    """Number of labels; 0 for none."""
    size: int = Field(default=26, ge=1)
    """Number of samples; no multiple of the usual batch, so that batches reach over the end of an epoch."""
    labelled: int = Field(default=0, ge=0)
    """Of so many the batch has labelled and labelled_classes too."""
    called: tuple[str, ...] = ("real",)
    """Entries of the batch, each with random samples of its own."""

    def open(self) -> Source:
        """The samples, in memory."""
        facts = Facts(self.shape, self.classes, self.size, f"random {self.shape} {self.classes}")
        return RandomSource(facts, self.labelled, self.called)


class PlainDescent(Optimizer):
    """Gradient descent without memory. Adaptive optimizers turn the rounding noise of a zero gradient into a step."""

    name: ClassVar[str] = "plain-descent"

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """torch.optim.SGD without momentum."""
        return torch.optim.SGD(parameters, lr=self.lr)


class BaseLoss(Loss):
    """What a regularizer is checked on: the logistic loss of both players (Goodfellow et al. 2014, section 3)."""

    name: ClassVar[str] = "base-loss"

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        """-E log D(x) - E log(1 - D(G(z)))."""
        return {"total": softplus(-turn.on_real.logits).mean() + softplus(turn.on_fake.logits).mean()}

    def generator(self, turn: Turn) -> dict[str, Tensor]:
        """-E log D(G(z))."""
        return {"total": softplus(-turn.on_fake.logits).mean()}
