"""Images of a class, in the order of their numbers, without those that a filter refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gandist.contract.turn import Verdict
from gandist.errors import ConfigError
from gandist.evaluation.classifier import Classifier
from gandist.training.players import divisor
from gandist.training.sampling import BLOCK
from gandist.using.augmenting.asked import names
from gandist.using.trained import Trained

APART = 1_000_000_000
"""Sample APART × label + i of a seed is candidate i of a class, so that no two classes share latents."""
TRIES, FEWEST = 100, 1024
"""At most so many candidates for each image that is wanted, and at least so many in all, before it is given up."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Kept images uint8 (n, C, H, W), n ≥ 0, of one class. numbers: the samples of the seed that they are. told: what
    the filters said of each, (n,) by name. tried: candidates that were looked at to find them."""

    images: Tensor
    numbers: list[int]
    told: Mapping[str, Tensor]
    tried: int


@dataclass(frozen=True, eq=False)
class Maker:
    """Makes images of a class that pass the filters.

    keep: the share of each block of 64 candidates that the discriminator finds most real, above 0 and at most 1.
    agree: the least probability, from 0 to 1, that `judge` gives the class asked for. Images of a seed are a function
    of label and number alone; asking for more gives the same ones first.
    """

    trained: Trained
    keep: float | None = None
    agree: float | None = None
    judge: Classifier | None = field(default=None)

    def __post_init__(self) -> None:
        """Raises ConfigError for shares that are none, and for a discriminator that cannot be asked."""
        if self.keep is not None and not 0 < self.keep <= 1:
            raise ConfigError(f"--keep {self.keep:g}: the best share by the discriminator is above 0 and at most 1")
        if self.agree is not None and not 0 < self.agree < 1:
            raise ConfigError(f"--agree {self.agree:g}: a probability lies between 0 and 1")
        if self.keep is not None and BLOCK % (group := divisor({"discriminator": self.trained.discriminator})):
            raise ConfigError(
                f"{self.trained.path}: its discriminator judges {group} samples together, which {BLOCK} do not divide "
                "by; leave out --keep"
            )

    def batches(self, label: int, wanted: int, seed: int) -> Iterator[Batch]:
        """`wanted` images of a class in all. Raises ConfigError if too few of the candidates pass."""
        kept = tried = 0
        while kept < wanted:
            most = FEWEST if not kept else max(FEWEST, TRIES * wanted)
            if tried >= most:
                raise ConfigError(self._given_up(label, wanted, kept, tried))
            start = APART * label + tried
            batch = self._block(label, start, wanted - kept, seed)
            kept, tried = kept + len(batch.images), tried + batch.tried
            yield batch

    def images(self, label: int, wanted: int, seed: int) -> Tensor:
        """The same images at once, uint8 (wanted, C, H, W)."""
        return torch.cat([batch.images for batch in self.batches(label, wanted, seed)])

    def _block(self, label: int, start: int, room: int, seed: int) -> Batch:
        # Always a whole block: the same matrix products, hence the same bits, however many are wanted.
        images = self.trained.sample(BLOCK, seed, label, start)
        passed, told = torch.ones(BLOCK, dtype=torch.bool), {}
        if self.keep is not None:
            told["realness"] = self._realness(images, label)
            passed[told["realness"].argsort(descending=True, stable=True)[max(1, round(self.keep * BLOCK)) :]] = False
        if self.agree is not None:
            told["agreement"] = self._agreement(images, label)
            passed &= told["agreement"] >= self.agree
        rows = passed.nonzero()[:room, 0]
        # The best of a block are known when all of it has been looked at.
        ended = len(rows) == room and self.keep is None
        tried = int(rows[-1]) + 1 if ended else BLOCK
        numbers = [start + row for row in rows.tolist()]
        return Batch(images[rows], numbers, {name: said[rows] for name, said in told.items()}, tried)

    @torch.no_grad()
    def _realness(self, images: Tensor, label: int) -> Tensor:
        """The discriminator's logits float32 (B,), in eval mode, of the images as they are written."""
        device = self.trained.device
        labels = torch.full((len(images),), label, device=device)
        answer = self.trained.discriminator(images.to(device).float().div_(127.5).sub_(1), labels)
        return (answer.logits if isinstance(answer, Verdict) else answer).float().cpu()

    @torch.no_grad()
    def _agreement(self, images: Tensor, label: int) -> Tensor:
        """The probability that the judge gives the class, float32 (B,)."""
        assert self.judge is not None, "whoever asks for agreement brings the judge"
        _, logits = self.judge(images.to(self.judge.head.weight.device))
        return logits.float().softmax(1)[:, label].cpu()

    def _given_up(self, label: int, wanted: int, kept: int, tried: int) -> str:
        asked = [f"--keep {self.keep:g}"] if self.keep is not None else []
        asked += [f"--agree {self.agree:g}"] if self.agree is not None else []
        name = names(self.trained.facts)[label]
        passed = f"only {kept:,} of {tried:,} samples" if kept else f"none of {tried:,} samples"
        return (
            f"{self.trained.path}: class {name}: {passed} passed {' and '.join(asked)}, and "
            f"{wanted:,} are wanted; nothing was written. Ask for less, or train for longer"
        )
