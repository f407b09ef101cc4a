"""How samples are scored: extractors turn them into features, metrics compare them with real ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from gandist.contract.component import Component
from gandist.contract.facts import Facts

if TYPE_CHECKING:
    from gandist.contract.comparing import Compared
    from gandist.contract.components import Source

Part = Literal["reference", "held out", "all"]
"""Of the real samples: a fixed random half, at most 10,000; a fifth, at most 4,000, that no extractor was trained on;
all in their order."""
Row = Literal["features", "logits", "labels"]


@dataclass(frozen=True)
class Scored:
    """Samples, real or generated, with what an extractor makes of them.

    samples: uint8 (B, C, H, W) or points (B, D), None where only the rest was kept. features: (B, D). logits:
    (B, classes of the extractor). labels: int64 (B,), those of real samples, or those that a generator which heeds
    labels was asked for.
    """

    samples: Tensor | None = None
    features: Tensor | None = None
    logits: Tensor | None = None
    labels: Tensor | None = None


class Real(Protocol):
    """The real samples, for what a metric wants to know of them. Read on one rank."""

    @property
    def source(self) -> Source:
        """The data set."""
        ...

    @property
    def facts(self) -> Facts:
        """Of the data set."""
        ...

    def rows(self, part: Part, limit: int | None = None) -> Scored:
        """Features, logits and labels of a part, at most `limit` samples, without the samples themselves; on the CPU.

        Only for metrics that have a feature space.
        """
        ...

    def batches(self, part: Part, limit: int | None = None) -> Iterator[Scored]:
        """The samples and labels of a part, some hundred at a time."""
        ...


class Extractor(Component):
    """Turns samples into features, the space in which metrics compare them."""

    kind: ClassVar[str] = "extractors"
    knows_classes: ClassVar[bool] = False
    """Whether its network returns logits beside the features."""
    own_classes: ClassVar[bool] = False
    """Whether these logits are of the data set's own classes, one each."""
    unnamed: ClassVar[frozenset[str]] = frozenset()
    """Fields that do not tell one space from another, as a path, whose content the weights' SHA-256 tells."""

    def unfit(self, source: Source) -> str | None:
        """Why it cannot be used on such data, to follow a metric's name ("needs images, …"), or None."""
        return None

    @abstractmethod
    def build(self, source: Source, device: torch.device) -> nn.Module:
        """The network, in eval mode: its forward takes samples, uint8 (B, C, H, W) of any size or points (B, D), and
        returns features (B, D), or features and logits (B, classes). For metrics that look at small differences it
        takes images in float32, too, from 0 to 255 and not rounded.

        device: where to compute what it takes to make it; the caller moves the network. Called on one rank; the others
        get what it returns. `about`, if the network has it, is a mapping of numbers and
        texts that joins the protocol. Raises GandistError for what a user can mend.
        """
        raise TypeError(f"{type(self).__name__} has no build(source, device)")


class Metric(Component):
    """A score of a generator, in one of two ways, both the same on any number of ranks.

    From sums over samples: `sums` and `result`. From all samples at once: `gathers` says what is collected of them,
    and `compare` gets it. (An `Examination` is a metric too, and looks at the players instead of samples; an
    `Exploration` asks the generator for samples of its own.) The scores stand in the results as `scores` names them;
    single ones of many (one a class) as "name/which", unnamed here.
    """

    kind: ClassVar[str] = "metrics"
    scores: ClassVar[tuple[str, ...]]
    """The names of what it gives."""
    floors: ClassVar[tuple[str, ...]] = ()
    """Of these, what is measured on real samples of the other half too and stands beside as NAME_real: the score that
    a perfect generator would get."""
    gathers: ClassVar[tuple[Row, ...]] = ()
    """What `compare` needs of every sample; empty for a metric that works by sums."""

    def space(self, features: Extractor) -> Extractor | None:
        """The feature space it works in; `features` is the one of the config, None is none."""
        return features

    def unfit(self, source: Source) -> str | None:
        """Why it cannot be computed on such data, to follow its name ("needs a data set with …"), or None."""
        return None

    def classes(self, facts: Facts) -> Literal["asked", "seen"] | None:
        """By whose word it takes a sample's class, None where it does not ask: "asked", only the label that the
        generator was asked for; "seen", that one, or of a generator without labels what the feature space sees."""
        return None

    def statistics(self, real: Real) -> dict[str, Tensor]:
        """What it needs to know of real samples, computed on one rank, given to all, and kept between runs."""
        return {}

    def sums(self, batch: Scored, known: Mapping[str, Tensor]) -> Tensor:
        """What a batch adds to the sums, float64, of one length. known: the statistics, on the device."""
        raise TypeError(f"{type(self).__name__} has neither sums(batch, known) nor `gathers`")

    def result(self, sums: Tensor, count: int, known: Mapping[str, Tensor]) -> dict[str, float]:
        """The scores by name, from the sums over all `count` samples; tensors are on the CPU."""
        raise TypeError(f"{type(self).__name__} has no result(sums, count, known)")

    def compare(self, compared: Compared) -> dict[str, float]:
        """The scores by name, from all samples; called on all ranks alike."""
        raise TypeError(f"{type(self).__name__} has no compare(compared)")

    def suspicion(self, compared: Compared) -> Tensor | None:
        """How much each sample speaks against the generator by itself, (N,), from 0 on where it counts as guilty; None
        for a metric that points at no single ones.

        `gandist evaluate --pictures` shows those it points at first beside the training images nearest to them. Called
        after `compare`, which may keep what both need (`compared.kept`).
        """
        return None

    @classmethod
    def told(cls, scores: dict[str, float]) -> list[tuple[str, str]]:
        """Lines (what, figure) for a person. Takes out of `scores` what it has told; the rest is told as it stands."""
        lines = []
        for name in cls.scores:
            for single in [one for one in scores if one.startswith(f"{name}/")]:
                del scores[single]
            if name in scores:
                real = scores.pop(f"{name}_real", None)
                beside = f" (real {real:.4g})" if real is not None else ""
                lines.append((name.replace("_", " "), f"{scores.pop(name):.4g}{beside}"))
        return lines

    @classmethod
    def all_scores(cls) -> tuple[str, ...]:
        """`scores`, and the floors beside them."""
        return (*cls.scores, *(f"{name}_real" for name in cls.floors))
