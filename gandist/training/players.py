"""The players: networks, optimizers and memories, each player's turn wrapped for data-parallel training."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gandist.config.schema import Config
from gandist.contract.collective import distributed
from gandist.contract.component import Component
from gandist.contract.components import Loss
from gandist.contract.facts import Facts
from gandist.contract.turn import Memory, Turn
from gandist.errors import RunError
from gandist.training.batchnorm import synchronise
from gandist.training.exchange import Exchange

Terms = dict[str, Tensor]

_SYNC = "forward_sync_buffers"  # torch 2.13 renames broadcast_buffers
_NO_BUFFERS = {_SYNC if _SYNC in inspect.signature(DistributedDataParallel).parameters else "broadcast_buffers": False}


def build_networks(config: Config, facts: Facts) -> dict[str, nn.Module]:
    """The players' networks by name, initialised from the run's seed, the same on all ranks."""
    networks = config.architecture.players(facts, config.run.seed)
    if config.train.sync_batchnorm:
        networks = {name: synchronise(network) for name, network in networks.items()}
    return networks


def divisor(networks: Mapping[str, nn.Module]) -> int:
    """What every share of the batch must divide by (packing, groups of minibatch statistics)."""
    return max(int(getattr(network, "divisor", 1)) for network in networks.values())


def build_memories(components: Iterable[Component], facts: Facts) -> dict[str, Memory]:
    """The buffers of the components that keep any, by kind and name."""
    initial = {component.key: component.memory(facts) for component in components}
    return {name: Memory(buffers) for name, buffers in initial.items() if buffers}


def taking_part(loss: Loss, role: str, count: int | None = None) -> list[Component]:
    """The loss and the regularizers that play in the turns of `role`, or in its turn number `count` if given."""
    regularizers = [r for r in loss.regularizers if r.method(role) and (count is None or count % r.every == 0)]
    return [loss, *regularizers]


def play(loss: Loss, turn: Turn, weight: float, lazy: bool = True) -> tuple[Tensor, Terms]:
    """Plays one part of a turn: what to minimise on this rank, and every term for the logs.

    weight: of a mean over this part in the global batch. A component that couples ranks has averaged over the global
    batch by itself and needs none. lazy: whether the regularizers play.
    """
    terms = dict(loss.method(turn.role)(turn))
    if "total" not in terms:
        raise RunError(f"loss {loss.name}: {turn.role}() returned no 'total', only {', '.join(terms) or 'nothing'}")
    objective = terms["total"] * (1.0 if loss.couples else weight)
    total = terms["total"]
    for regularizer in loss.regularizers if lazy else ():
        method = regularizer.method(turn.role)
        if method is None or turn.count % regularizer.every:
            continue
        term = method(turn)
        heavy = regularizer.strength(turn.images)
        objective = objective + term * (heavy * (1.0 if regularizer.couples else weight))
        total = total + heavy * term
        terms[regularizer.name] = term
    return objective, {**terms, "total": total}


class Move(nn.Module):
    """What is wrapped for data-parallel training: a player's turn, not its network.

    The acting player's parameters are this module's; the others are reached through the turn, where the wrapper does
    not see them. So any loss, with any number of networks, forwards and penalties, is one forward and one backward.
    """

    def __init__(self, network: nn.Module, loss: Loss):
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, turn: Turn, weight: float, lazy: bool = True) -> tuple[Tensor, Terms]:
        """Objective and terms of one part."""
        return play(self.loss, turn, weight, lazy)


class Player:
    """One acting player: `network` for saving and freezing, `move` for its turns, `optimizer` for its weights.

    frozen: names of parameters that stay as they are.
    """

    def __init__(
        self,
        role: str,
        network: nn.Module,
        config: Config,
        exchange: Exchange | None = None,
        frozen: Collection[str] = (),
    ):
        self.role, self.network = role, network
        self._parameters = [(name, p) for name, p in network.named_parameters() if name not in frozen]
        self._frozen = [p.requires_grad_(False) for name, p in network.named_parameters() if name in frozen]
        self.optimizer = config.optimizer[role].build(p for _, p in self._parameters)
        self._lr = [group["lr"] for group in self.optimizer.param_groups]
        self._settings = config.optimizer[role]
        self._components = taking_part(config.loss, role)
        self._images = config.steps * config.images_per_step
        self._skips = any(component.skips_parameters for component in self._components)
        self.move: Callable[..., tuple[Tensor, Terms]] = Move(network, config.loss)
        if distributed():
            # Said of weights with one channel, whose two memory formats have different strides for the same order.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            # No device_ids: the turn must reach the method untouched.
            options: dict[str, Any] = {"gradient_as_bucket_view": True, **_NO_BUFFERS}
            if exchange is not None:
                # One exchange at the end of a turn: each waits for the slowest rank.
                options["bucket_cap_mb"] = 2**20
            self.move = DistributedDataParallel(
                Move(network, config.loss), find_unused_parameters=self._skips, **options
            )
            if exchange is not None:
                self.move.register_comm_hook(exchange, Exchange.hook)

    def unsynchronised(self) -> AbstractContextManager[Any]:
        """Within it, gradients are kept on this rank: for all parts of a turn but the last."""
        return self.move.no_sync() if isinstance(self.move, DistributedDataParallel) else nullcontext()

    def freeze(self, frozen: bool) -> None:
        """Whether the weights take gradients; a frozen player costs no weight gradients in another's turn."""
        self.network.requires_grad_(not frozen)
        for parameter in self._frozen:
            parameter.requires_grad_(False)

    def schedule(self, images: int) -> None:
        """Sets the learning rate, and what else of the optimizer changes, for the images seen."""
        factor, others = self._settings.schedule.factor(images, self._images), self._settings.settings(images)
        for group, lr in zip(self.optimizer.param_groups, self._lr, strict=True):
            group.update(others, lr=lr * factor)

    def step(self) -> None:
        """Moves the weights along their gradients, clipped if the config says so, and lets the loss constrain them."""
        if self._settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._settings.clip)
        self.optimizer.step()
        with torch.no_grad():
            for component in self._components:
                component.constrain(self.role, self.network)

    @property
    def lr(self) -> float:
        """Learning rate of the last turn."""
        return self.optimizer.param_groups[0]["lr"]

    def without_gradient(self) -> list[str]:
        """Parameters that the turn just played gave no gradient, unless a component says that it skips some."""
        return [] if self._skips else [name for name, p in self._parameters if p.grad is None]

    def gradient_norm(self) -> Tensor:
        """Euclidean norm of the whole gradient."""
        return torch.nn.utils.get_total_norm([p.grad for _, p in self._parameters if p.grad is not None])
