"""Checks of losses and regularizers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gandist.contract.components import Architecture, Dataset, Loss, Regularizer
from gandist.contract.turn import Moment
from gandist.testing.tiny import BaseLoss, RandomSamples, TinyPlayers
from gandist.testing.trial import Trial, difference, play, play_in_two_goes
from gandist.training.batches import Batches
from gandist.training.shares import share
from gandist.training.state import State
from gandist.training.surroundings import Surroundings
from gandist.training.turns import Table

TOLERANCE = 1e-10
"""How far weights may lie apart, in float64, where the arithmetic is the same but for the order of sums."""


def check_loss(
    loss: Loss, *, architecture: Architecture | None = None, dataset: Dataset | None = None, batch_size: int = 8
) -> None:
    """Plays a loss, with its regularizers, through the real loop and raises AssertionError where the contract fails.

    Each turn returns finite scalars with a "total", whose gradient reaches all of the acting player and nobody else,
    and leaves the memories alone; two ranks and micro-batches end with the weights of one process with the global
    batch, even shares or not; a resumed run ends with those of an undisturbed one; bf16 stays finite.

    architecture: with the players that the loss names; two small dense players by default. dataset: small random
    labelled images by default. Both, like the loss, must be importable, since a second process plays them too.
    """
    trial = Trial(loss, architecture or TinyPlayers(), dataset or RandomSamples(), batch_size)
    _check_turns(trial)
    for size in (batch_size, batch_size - 1):
        _check_split(replace(trial, batch_size=size))
    straight, resumed = play(replace(trial, steps=4)), play_in_two_goes(replace(trial, steps=4))
    gap, where = difference(straight, resumed)
    assert gap == 0, (
        f"{loss.name}: a run resumed from a checkpoint ends with another {where}; all state must be in memory(), and "
        f"nothing may be kept in the component or in globals"
    )
    rough = play(replace(trial, precision="bf16", dtype=torch.float32))
    infinite = [name for name, tensor in rough.items() if not tensor.isfinite().all()]
    assert not infinite, f"{loss.name}: with train.precision: bf16, {infinite[0]} is not finite"


def check_regularizer(
    regularizer: Regularizer,
    *,
    loss: Loss | None = None,
    architecture: Architecture | None = None,
    dataset: Dataset | None = None,
    batch_size: int = 8,
) -> None:
    """Plays a regularizer with a plain loss, or with `loss`, and raises AssertionError where the contract fails.

    It must take part in the turns of one of the loss's players; for the rest see `check_loss`.
    """
    loss = loss or BaseLoss()
    acting = [role for role in dict.fromkeys(loss.turns) if regularizer.method(role)]
    assert acting, (
        f"{regularizer.name} takes part in no turn: it needs a method named after a player, one of "
        f"{', '.join(dict.fromkeys(loss.turns))}"
    )
    both = loss.model_copy(update={"regularizers": (*loss.regularizers, regularizer)})
    check_loss(both, architecture=architecture, dataset=dataset, batch_size=batch_size)


def _check_turns(trial: Trial) -> None:
    config, source = trial.config, trial.dataset.open()
    around = Surroundings(Path(), dtype=trial.dtype)
    with torch.random.fork_rng():
        state = State(config, source.facts, around)
        own = share(trial.batch_size, 0, 1)
        rows = Batches(source, config.run.seed, own.span, 0, around.device).take(0)
        table = Table(state, own, around)
        for number, role in enumerate(config.loss.turns):
            if role not in config.loss.turns[:number]:
                _check_turn(state, table, rows, role, number)


def _check_turn(state: State, table: Table, rows: Mapping[str, Tensor], role: str, number: int) -> None:
    where = f"{state.config.loss.name}, {role}'s turn"
    for network in state.networks.values():
        network.zero_grad(set_to_none=True)
    player = state.act(role)
    memories = {key: buffer.clone() for key, buffer in _buffers(state).items()}
    frozen = {name for name, network in state.networks.items() if name != role}
    turn = table.deal(role, rows, 0, Moment(state.config.run.seed, 0, number, state.count(role, number)))

    answer = state.config.loss.method(role)(turn)
    assert isinstance(answer, Mapping), f"{where}: should return terms by name, not {type(answer).__name__}"
    assert "total" in answer, f"{where}: no 'total' among {', '.join(answer) or 'no terms'}"
    turn = table.deal(role, rows, 0, turn.moment)
    objective, terms = player.move(turn, 1.0)
    for name, term in terms.items():
        shape = tuple(term.shape) if isinstance(term, Tensor) else type(term).__name__
        assert shape == (), f"{where}: '{name}' should be a scalar tensor, is {shape}"
        assert term.isfinite(), f"{where}: '{name}' is {term.item()}"
    assert objective.requires_grad, f"{where}: 'total' has no gradient"
    objective.backward()

    ungiven = player.without_gradient()
    assert not ungiven, (
        f"{where}: {ungiven[0]} got no gradient; if that is meant, skips_parameters: ClassVar[bool] = True"
    )
    touched = [
        f"{name}.{key}"
        for name in frozen
        for key, parameter in state.networks[name].named_parameters()
        if parameter.requires_grad or parameter.grad is not None
    ]
    assert not touched, f"{where}: {touched[0]}, which is another player's, got a gradient or was unfrozen"
    changed = [key for key, buffer in _buffers(state).items() if not torch.equal(buffer, memories[key])]
    assert not changed, f"{where}: the memory {changed[0]} changed during the turn; change it in update()"


def _buffers(state: State) -> dict[str, Tensor]:
    return {f"{key}.{name}": b for key, memory in state.memories.items() for name, b in memory.named_buffers()}


def _check_split(trial: Trial) -> None:
    loss, size = trial.loss, trial.batch_size
    whole = play(trial)
    try:
        shared = play(trial, world=2)
    except RuntimeError as error:
        raise AssertionError(f"{loss.name}: with {size} rows on 2 ranks, {error}") from error
    gap, where = difference(whole, shared)
    assert gap <= TOLERANCE, (
        f"{loss.name}: with {size} rows on 2 ranks {where} differs by {gap:.1e} from one process. A term must be a "
        f"mean over the samples of the turn (or couples, and reach the others through turn.everyone), random numbers "
        f"must come from turn.noise, and update() must read gathered rows"
    )
    if any(component.couples for component in (loss, *loss.regularizers)):
        return
    gap, where = difference(whole, play(replace(trial, micro_batch=3)))
    assert gap <= TOLERANCE, (
        f"{loss.name}: with micro-batches of 3 of {size} rows {where} differs by {gap:.1e} from the whole batch. A "
        f"term that is no mean over samples must say couples: ClassVar[bool] = True"
    )
