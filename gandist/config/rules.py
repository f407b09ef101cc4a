"""The rules between the parts of a config, one function a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from gandist.config.demands import DEMANDS
from gandist.config.problems import Problem
from gandist.config.schema import Config
from gandist.contract.component import Component
from gandist.contract.components import Regularizer, Source
from gandist.contract.noise import Noise
from gandist.contract.recompute import recomputable
from gandist.contract.turn import Verdict
from gandist.errors import did_you_mean


@dataclass(frozen=True)
class Parts:
    """What rules look at. source and players are None where they could not be opened or built."""

    config: Config
    source: Source | None
    players: dict[str, nn.Module] | None

    @property
    def roles(self) -> list[str]:
        """The players that take turns."""
        return list(dict.fromkeys(self.config.loss.turns))

    @property
    def methods(self) -> list[Component]:
        """The loss and its regularizers."""
        return [self.config.loss, *self.config.loss.regularizers]

    @property
    def divisor(self) -> int:
        """What every share of the batch must divide by."""
        return max((int(getattr(player, "divisor", 1)) for player in (self.players or {}).values()), default=1)

    @property
    def worlds(self) -> range:
        """The numbers of workers that the run may have."""
        cluster = self.config.cluster
        return range(max(1, cluster.fewest_workers), max(1, cluster.most_workers) + 1)


Rule = Callable[[Parts], Iterator[Problem]]


def enough_samples(parts: Parts) -> Iterator[Problem]:
    """A generative model of one image has nothing to learn."""
    if parts.source is not None and len(parts.source) < 2:
        yield Problem("dataset", f"has {len(parts.source)} sample; give it at least 2 to learn a distribution from")


def turns_have_players(parts: Parts) -> Iterator[Problem]:
    """Each turn of the loss is played by a network that is there, with a method that is there."""
    config = parts.config
    for role in parts.roles:
        if not callable(getattr(config.loss, role, None)):
            yield Problem("loss", f"{config.loss.name} lists a turn of {role}, but has no method {role}(turn)")
        if parts.players is not None and role not in parts.players:
            names = ", ".join(parts.players)
            yield Problem(
                "architecture",
                f"{config.architecture.name} builds {names}; {config.loss.name} plays {role}"
                f"{did_you_mean(role, parts.players)}; choose an architecture that builds it",
            )


def needs_are_met(parts: Parts) -> Iterator[Problem]:
    """Players have the attributes that the loss and its regularizers use."""
    if parts.players is None:
        return
    for player, wanted in parts.config.loss.needed.items():
        for attribute, who in wanted:
            if not hasattr(parts.players.get(player), attribute):
                yield Problem(
                    "architecture",
                    f"{who} needs a {player} with '{attribute}', which that of {parts.config.architecture.name} does "
                    f"not have; choose another architecture, or leave out {who}",
                )


def components_take_the_data(parts: Parts) -> Iterator[Problem]:
    """The loss, its regularizers and the augmentations can work on such samples."""
    if parts.source is None:
        return
    config, facts = parts.config, parts.source.facts
    placed = [("loss", config.loss)]
    placed += [(f"loss.regularizers.{index}", one) for index, one in enumerate(config.loss.regularizers)]
    placed += [(f"augmentations.{index}", one) for index, one in enumerate(config.augmentations)]
    for path, component in placed:
        if reason := component.refuse(facts):
            yield Problem(path, f"{component.name} {reason}; leave it out, or choose another data set")


def augmentations_stand_once(parts: Parts) -> Iterator[Problem]:
    """Memory and noise of an augmentation carry its name."""
    names = [augmentation.name for augmentation in parts.config.augmentations]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Problem(f"augmentations.{index}", f"{name} stands there twice; remove one")


def generator_fits_data(parts: Parts) -> Iterator[Problem]:
    """Samples have the data's shape, and the discriminator takes them."""
    if parts.players is None or parts.source is None:
        return
    generator, discriminator = parts.players.get("generator"), parts.players.get("discriminator")
    if generator is None or not hasattr(generator, "draw"):
        return
    facts, rows = parts.source.facts, 2 * parts.divisor
    labels = torch.arange(rows) % facts.classes if facts.classes else None
    training = {player: player.training for player in parts.players.values()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for player in training:
                player.eval()
            noise = Noise(0, "check", start=0, stop=rows, total=rows, device=torch.device("cpu"), dtype=torch.float32)
            made: Tensor = generator(generator.draw(noise, rows), labels)  # type: ignore[operator]
            if tuple(made.shape[1:]) != facts.shape:
                yield Problem(
                    "architecture",
                    f"{parts.config.architecture.name} makes samples of shape {_shape(made.shape[1:])}, the data set "
                    f"has {_shape(facts.shape)}; set dataset.size, or choose another architecture",
                )
            elif discriminator is not None:
                yield from _classes_are_there(parts, discriminator(made, labels))
    except RuntimeError as error:
        yield Problem(
            "architecture",
            f"{parts.config.architecture.name} fails on samples of shape {_shape(facts.shape)}: "
            f"{str(error).splitlines()[0]}",
        )
    finally:
        for player, was in training.items():
            player.train(was)


def _classes_are_there(parts: Parts, answer: Any) -> Iterator[Problem]:
    """Who reads class logits gets some."""
    there = isinstance(answer, Verdict) and answer.classes is not None
    for component in parts.methods:
        if component.uses_classes and not there:
            yield Problem(
                "architecture",
                f"{component.name} reads class logits, which {parts.config.architecture.name} does not return so; "
                f"choose one that does, such as dcgan with conditioning: auxiliary-classifier, or leave out "
                f"{component.name}",
            )


def regularizers_take_part(parts: Parts) -> Iterator[Problem]:
    """Each regularizer plays in some turn, and stands once: its memory and its log keys carry its name."""
    seen: set[str] = set()
    for index, regularizer in enumerate(parts.config.loss.regularizers):
        path = f"loss.regularizers.{index}"
        if regularizer.name in seen:
            yield Problem(path, f"{regularizer.name} stands there twice; add up the weights")
        seen.add(regularizer.name)
        if not any(_plays(regularizer, role) for role in parts.roles):
            yield Problem(path, f"{regularizer.name} takes part in no turn of {', '.join(parts.roles)}; remove it")


def batch_feeds_all(parts: Parts) -> Iterator[Problem]:
    """Every worker gets rows, in whole groups where a discriminator wants groups."""
    batch, divisor, most = parts.config.train.batch_size, parts.divisor, parts.worlds[-1]
    if batch % divisor:
        near = max(divisor, batch // divisor * divisor)
        yield Problem(
            "train.batch_size", f"should be a multiple of {divisor}, which the players divide it by; e.g. {near}"
        )
    elif batch // divisor < most:
        yield Problem(
            "train.batch_size",
            f"{batch} rows do not feed {most} workers, each of which needs at least {divisor}; set cluster.workers to "
            f"at most {batch // divisor}, or train.batch_size to at least {most * divisor}",
        )


def micro_batches_are_exact(parts: Parts) -> Iterator[Problem]:
    """Micro-batches give the whole batch's gradient: no component couples their rows, and none is empty."""
    micro, divisor = parts.config.train.micro_batch, parts.divisor
    if micro is None:
        return
    for component in parts.methods:
        if component.couples:
            yield Problem(
                "train.micro_batch", f"{component.name} needs the whole batch at once; set train.micro_batch=null"
            )
    if micro % divisor:
        yield Problem("train.micro_batch", f"should be a multiple of {divisor}, which the players divide it by")
        return
    for world in parts.worlds:
        units = parts.config.train.batch_size // divisor
        largest, smallest = -(-units // world), units // world
        count = -(-largest * divisor // micro)
        if 0 < smallest < count:
            yield Problem(
                "train.micro_batch",
                f"{micro} makes {count} parts of {largest * divisor} rows, and leaves one empty on a worker of {world} "
                f"that has only {smallest * divisor}; set train.micro_batch to {micro + divisor} or more",
            )
            return


def activations_can_be_recomputed(parts: Parts) -> Iterator[Problem]:
    """Some network has blocks that may be played twice, and is not compiled."""
    train, players = parts.config.train, parts.players
    if not train.checkpoint_activations or players is None:
        return
    name = parts.config.architecture.name
    if not any(recomputable(player) for player in players.values()):
        yield Problem("train.checkpoint_activations", f"{name} has no blocks that could be recomputed; set it to false")
    elif train.compile:
        yield Problem("train.checkpoint_activations", "is not possible with train.compile; set one of them to false")


def bf16_is_supported(parts: Parts) -> Iterator[Problem]:
    """The GPU computes in bfloat16."""
    config = parts.config
    on_gpu = config.cluster.gpu is not False and torch.cuda.is_available()
    if config.train.precision == "bf16" and on_gpu and not torch.cuda.is_bf16_supported():
        yield Problem("train.precision", "this GPU has no bf16; set train.precision=fp32")


def warn_of_penalty_through_batch_norm(parts: Parts) -> Iterator[str]:
    """Batch norm makes a sample's gradient depend on its batch mates (Gulrajani et al. 2017, section 4)."""
    critic = (parts.players or {}).get("discriminator")
    names = [
        component.name for component in parts.methods if component.differentiates or component.per_sample_gradients
    ]
    if critic is not None and names and any(isinstance(module, _BatchNorm) for module in critic.modules()):
        yield (
            f"{', '.join(names)}: the discriminator has batch norm, so that the penalty of a sample depends on the "
            "rest of its batch; layer norm or none avoids it"
        )


def warn_of_spectral_norm_in_parts(parts: Parts) -> Iterator[str]:
    """Each forward is a power iteration, so that micro-batches see other weights than the whole batch."""
    if parts.config.train.micro_batch is None or parts.players is None:
        return
    for name, player in parts.players.items():
        if any(_spectral(module) for module in player.modules()):
            yield (
                f"train.micro_batch: the {name} has spectral norm, which makes a power iteration in each forward: "
                "micro-batches do not give exactly the whole batch's gradient"
            )


def warn_of_no_process_beside(parts: Parts) -> Iterator[str]:
    """A run without Ray has one process."""
    evaluate = parts.config.evaluate
    if evaluate.asynchronous and evaluate.every and not parts.config.cluster.most_workers:
        yield "evaluate.async: cluster.workers: 0 has no Ray for a process beside the training: the run scores in turn"


def _plays(regularizer: Regularizer, role: str) -> bool:
    return callable(regularizer.method(role))


def _spectral(module: nn.Module) -> bool:
    # torch has two: a parametrization, which is a module inside, and an older forward hook.
    inside = module.parametrizations.modules() if parametrize.is_parametrized(module) else ()  # type: ignore[union-attr]
    return any("SpectralNorm" in type(part).__name__ for part in (*inside, *module._forward_pre_hooks.values()))


def _shape(shape: torch.Size | tuple[int, ...]) -> str:
    return "×".join(str(int(size)) for size in shape)


RULES: tuple[Rule, ...] = (
    enough_samples,
    turns_have_players,
    needs_are_met,
    components_take_the_data,
    *DEMANDS,
    augmentations_stand_once,
    generator_fits_data,
    regularizers_take_part,
    batch_feeds_all,
    micro_batches_are_exact,
    activations_can_be_recomputed,
    bf16_is_supported,
)
WARNINGS: tuple[Callable[[Parts], Iterator[str]], ...] = (
    warn_of_penalty_through_batch_norm,
    warn_of_spectral_norm_in_parts,
    warn_of_no_process_beside,
)
