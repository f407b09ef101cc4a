"""The kinds of component that a plugin may provide."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, SerializeAsAny
from torch import Tensor, nn

from gandist.contract.anneal import Anneal
from gandist.contract.component import Component
from gandist.contract.facts import Facts
from gandist.contract.noise import Noise, key
from gandist.contract.optimizing import Optimizer
from gandist.contract.scoring import Extractor, Metric
from gandist.contract.turn import Memory


class Regularizer(Component):
    """A term added to a player's total: weight × every × term, on every `every`-th turn of that player.

    Having a method named after a player (`discriminator`, `generator`) is taking part in that player's turns; it gets
    the turn and returns a scalar, a mean over the samples of `turn`.
    """

    kind: ClassVar[str] = "regularizers"

    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Factor of the term in the player's total."""
    every: int = Field(default=1, ge=1)
    """Play on every n-th turn, n times as heavy (lazy regularisation; Karras et al. 2020, section 3.1)."""
    anneal: Anneal | None = None
    """How the weight changes with the images seen; null keeps it."""

    def method(self, role: str) -> Any | None:
        """The method for that player's turns, or None if this regularizer takes no part in them."""
        return getattr(self, role, None) if role not in Regularizer.model_fields else None

    def strength(self, images: int) -> float:
        """Factor of the term in the turns that it plays: the weight of the moment × `every`."""
        return (self.anneal.value(self.weight, images) if self.anneal else self.weight) * self.every


class Loss(Component):
    """Which turns are played and what each player minimises: one method per name in `turns`.

    Each gets the turn and returns scalars by name; "total" is minimised, the others are only logged. A term must be a
    mean over the samples of `turn`, unless the class says that it `couples`.

    Example:
        class NonSaturating(Loss):
            name: ClassVar[str] = "non-saturating"

            def discriminator(self, turn):
                return {"total": softplus(-turn.on_real.logits).mean() + softplus(turn.on_fake.logits).mean()}

            def generator(self, turn):
                return {"total": softplus(-turn.on_fake.logits).mean()}
    """

    kind: ClassVar[str] = "losses"
    critic: ClassVar[bool] = False
    """Whether logits are a critic's score, whose size and zero mean nothing, rather than log odds of being real."""
    pairs: ClassVar[bool] = False
    """Whether its `entries` must belong together row by row, hence come from one stream of the data set."""
    turns: ClassVar[tuple[str, ...]] = ("discriminator", "generator")
    """Players in the order in which a step plays them; may be a property (five discriminator turns, then one)."""

    regularizers: tuple[SerializeAsAny[Regularizer], ...] = ()
    """Terms added to the players' totals."""

    def method(self, role: str) -> Any:
        """The method that plays `role`."""
        return getattr(self, role)

    @property
    def fresh_batches(self) -> tuple[bool, ...]:
        """For each turn, whether it takes a fresh batch: the first does, and a player that has had the current one."""
        served: set[str] = set()
        fresh = []
        for number, role in enumerate(self.turns):
            fresh.append(number == 0 or role in served)
            served = {role} if fresh[-1] else served | {role}
        return tuple(fresh)

    @property
    def needed(self) -> dict[str, list[tuple[str, str]]]:
        """Player → (attribute, who needs it), over the loss and its regularizers."""
        wanted: dict[str, list[tuple[str, str]]] = {}
        for component in (self, *self.regularizers):
            for player, attributes in component.needs.items():
                wanted.setdefault(player, []).extend((attribute, component.name) for attribute in attributes)
        return wanted


class Architecture(Component):
    """Builds the players. Weights are initialised under a seeded random state: draw from torch's as usual.

    A generator is a module with `draw(noise, n)` → latents (a tensor, tuple or dict) and `forward(latents, labels)` →
    images (B, C, H, W) in [-1, 1], or points (B, D). One whose last layer is linear, so that its images may leave that
    range, says `unbounded = True`; samples are clipped. One that trades variety for quality otherwise than by scaling
    its latents has `truncated(latents, labels, psi)` → images, psi in (0, 1]. One that turns latents into styles has
    `map(latents, labels)` → styles (B, layers, D) and `synthesize(styles)` → images. `factors()` → the weights that its
    styles, or latents, meet first: a list of matrices (outputs, D), one a layer of styles; without it
    `gandist interpret` looks for them itself.

    A generator that does not draw (it turns given samples into others) has neither; its loss then calls the networks
    by their own names, says in `needs` which, and is a `Shows`.

    A discriminator's `forward(images, labels)` returns logits (B,) or a `Verdict`; its `divisor`, if it has one, is
    what the number of rows must divide by.
    """

    kind: ClassVar[str] = "architectures"

    @abstractmethod
    def build(self, facts: Facts) -> dict[str, nn.Module]:
        """The players by name. Those that no turn of the loss names stay frozen, in eval mode."""
        raise TypeError(f"{type(self).__name__} has no build(facts)")

    def players(self, facts: Facts, seed: int) -> dict[str, nn.Module]:
        """What `build` makes from this seed. The caller's random state stays as it is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(seed, "build"))
            return self.build(facts)


class Augmentation(Component):
    """Changes what the discriminator judges, real and generated alike, so that the generator need not learn it.

    `turn.judge` applies it, hence no loss knows of it. Gradients must flow through it to the images, twice if a
    penalty is to be used with it.
    """

    kind: ClassVar[str] = "augmentations"

    @abstractmethod
    def apply(self, images: Tensor, noise: Noise, memory: Memory | None) -> Tensor:
        """Changed images of the same shape (B, C, H, W).

        noise: for these rows, `len(noise)` of them; every request draws anew. memory: this component's buffers, None
        if it keeps none.
        """
        raise TypeError(f"{type(self).__name__} has no apply(images, noise, memory)")


class Source:
    """An opened data set: map-style, so that any number of workers reads any part of it in any order."""

    facts: Facts
    slow: bool = False
    """Whether reading decodes files, so that `loaders` processes pay; in-memory sources are read in place."""
    entries: tuple[str, ...] = ("real",)
    """What `read` gives, beside labels."""
    elsewhere: int = 0
    """Bytes that `prepare` brings to a node on which nothing of the data lies yet."""

    def __len__(self) -> int:
        return self.facts.size

    @abstractmethod
    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The samples: {"real": uint8 (B, C, H, W) or float32 (B, D), "labels": int64 (B,) if there are any}."""
        raise TypeError(f"{type(self).__name__} has no read(indices)")

    def varied(self, indices: Sequence[int], seed: int, start: int) -> dict[str, Tensor]:
        """The samples as training sees them, which may be another view of them each time (a crop, a flip).

        Chance is a function of (seed, start + i) for the i-th of them, its place in the endless stream of samples,
        which no two of them share and which does not depend on the number of workers. As `read` gives them by default.
        """
        return self.read(indices)

    def prepare(self, told: Callable[[str], None]) -> None:
        """Brings to this node what is read again and again, if it lies elsewhere; `told` hears how far it is.

        Called on every rank before it trains, and by no check: until then `read` makes do without.
        """

    def held_out(self) -> Source | None:
        """Samples that no training sees, such as the published test files, for metrics that examine the players; None
        where there are none. Their entries may be others than those of training. Opened when first read."""
        return None

    def named(self, number: int) -> str:
        """What a person calls a sample: its file, or else its number."""
        return str(number)

    def streams(self) -> Mapping[str, Source]:
        """The sources that are shuffled and read side by side (two domains of different sizes); usually only itself."""
        return {"": self}


class Dataset(Component):
    """Where samples come from."""

    kind: ClassVar[str] = "datasets"
    licence: ClassVar[str] = ""
    """Under which licence the samples are published, as Hugging Face writes it ("cc-by-4.0"); empty if not known."""

    loaders: int = Field(default=0, ge=0, le=256)
    """Processes per worker that read and decode ahead; 0 reads in the worker itself. In-memory data needs none."""

    @abstractmethod
    def open(self) -> Source:
        """Finds the data, downloading or reading its index if need be. Raises ConfigError naming what is missing."""
        raise TypeError(f"{type(self).__name__} has no open()")

    def like(self, facts: Facts, root: str) -> Source | None:
        """Other data, read as this data set reads its own, whose facts a run has kept; its own need not be there.

        None if it knows no other place than its own. Entries are those of held-out samples where `root` has them.
        Raises ConfigError that names what is missing.
        """
        return None

    def blocks(self, facts: Facts, root: str, size: int) -> Iterator[tuple[list[str], dict[str, Tensor]]] | None:
        """Other data as `like` reads them, for whom needs each sample once: all of them in their order, in blocks of at
        most `size`, what a person calls each and the entries of `read`.

        A data set whose files may be larger than the memory reads them here piece by piece. None, and what is raised,
        as of `like`; what is wrong with a later piece is found when it is reached.
        """
        source = self.like(facts, root)
        if source is None:
            return None
        spans = (range(start, min(len(source), start + size)) for start in range(0, len(source), size))
        return (([source.named(number) for number in span], source.read(span)) for span in spans)

    @classmethod
    def pack(cls, folder: str, out: str | None, **options: Any) -> dict[str, Any]:
        """What `gandist pack` does for this data set: writes `folder` as it reads it best, and tells what it wrote.

        out: a new folder, or a URL; None writes what is missing into `folder` itself.
        """
        raise TypeError(f"{cls.__name__} packs nothing")


@dataclass(frozen=True)
class Probe:
    """What a watcher asks the training for: `count` samples of the same latents each time, every `every` steps."""

    every: int
    count: int


class Watcher(Component):
    """Somebody who watches a run; its fields are its section of the config, `tracking.NAME`."""

    kind: ClassVar[str] = "watchers"
    place: ClassVar[Literal["rank 0", "driver"]] = "rank 0"
    """Which process calls it: beside the weights, or where the command was typed."""

    @property
    def probe(self) -> Probe | None:
        """The samples to be drawn for `gandist_on_probe`; None draws none. Of watchers beside rank 0."""
        return None

    @abstractmethod
    def watch(self, run: Any) -> object | None:
        """An object with any of the hooks `gandist_on_…` (marked with `hookimpl`), or None to stay away."""
        raise TypeError(f"{type(self).__name__} has no watch(run)")


KINDS: tuple[type[Component], ...] = (
    Loss, Regularizer, Architecture, Dataset, Augmentation, Optimizer, Extractor, Metric, Watcher,
)  # fmt: skip
