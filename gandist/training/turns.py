"""Makes the turns of a run: which rows, which seeds, and what an error in one of them is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from gandist.contract.collective import distributed
from gandist.contract.noise import key
from gandist.contract.recompute import recomputable
from gandist.contract.turn import Moment, Turn
from gandist.errors import GandistError, RunError
from gandist.training.players import Player, taking_part
from gandist.training.shares import Share
from gandist.training.state import State
from gandist.training.surroundings import Surroundings


class Table:
    """Where the players sit down: it deals the turns of one rank."""

    def __init__(self, state: State, share: Share, around: Surroundings):
        self._state, self._share, self._around = state, share, around

    def deal(self, role: str, rows: Mapping[str, Tensor], part: int, moment: Moment) -> Turn:
        """The turn of `role` on one part of this rank's rows. Seeds what is random inside the networks."""
        self._seed_networks(key(moment.seed, moment.step, moment.number, self._share.number(part)))
        span, start = self._share.parts[part], self._share.span.start
        active = taking_part(self._state.config.loss, role, moment.count)
        return Turn(
            players=self._state.at_the_table(role, active),
            role=role,
            rows={name: entry[span.start - start : span.stop - start] for name, entry in rows.items()},
            span=span,
            moment=moment,
            differentiable=any(component.differentiates for component in active),
            device=self._around.device,
            dtype=self._around.dtype,
            memories=self._state.memories,
            augment=self._augment if self._state.config.augmentations else None,
            smoothed=self._state.smoothed,
        )

    def _augment(self, images: Tensor, turn: Turn) -> Tensor:
        # In full precision: what is changed here is what the discriminator sees.
        with torch.autocast(images.device.type, enabled=False):
            for augmentation in self._state.config.augmentations:
                memory = self._state.memories.get(augmentation.key)
                images = augmentation.apply(images, turn.noise(augmentation.key), memory)
        return images

    def _seed_networks(self, seed: int) -> None:
        # Not torch.manual_seed: it also queues a call, with the stack of its caller, for every kind of device that was
        # not used so far, a millisecond and a little memory each time.
        torch.default_generator.manual_seed(seed)
        if self._around.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def rehearse(self, rows: Mapping[str, Tensor]) -> None:
        """Plays two dry turns of each player, which leave nothing behind but the order of the gradient buckets.

        The wrapper settles that order after its first backward. Without a rehearsal a resumed run of three ranks would
        sum its first gradients in another order than an undisturbed one.
        """
        if not distributed():
            return
        buffers = {buffer: buffer.clone() for module in self._state.modules().values() for buffer in module.buffers()}
        for number, role in enumerate(self._state.config.loss.turns):
            if role in self._state.config.loss.turns[:number]:
                continue
            player = self._state.act(role)
            for _ in range(2):
                turn = self.deal(role, rows, 0, Moment(self._state.config.run.seed, 0, number, 0))
                with explained(turn, self._state):
                    player.move(turn, 1.0, lazy=False)[0].backward()
                require_gradients(player)
                player.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, before in buffers.items():
                buffer.copy_(before)


def require_gradients(player: Player) -> None:
    """Raises RunError naming the parameters that the turn gave no gradient."""
    if missing := player.without_gradient():
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise RunError(
            f"the {player.role}'s turn gave {missing[0]}{more} no gradient; a component whose turns leave some "
            f"parameters unused must say so: skips_parameters: ClassVar = True"
        )


@contextmanager
def explained(turn: Turn, state: State) -> Iterator[None]:
    """Says in whose turn and at which step an error arose, and what helps when memory ran out."""
    where = f"in the {turn.role}'s turn of step {turn.step}"
    try:
        yield
    except GandistError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise RunError(_out_of_memory(where, turn, state)) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "out of memory" in str(error):
            raise RunError(_out_of_memory(where, turn, state)) from error
        error.add_note(f"({where}, loss {state.config.loss.name})")
        raise
    except Exception as error:
        error.add_note(f"({where}, loss {state.config.loss.name})")
        raise


def _out_of_memory(where: str, turn: Turn, state: State) -> str:
    rows = len(turn)
    helps = not state.config.train.checkpoint_activations and any(map(recomputable, state.networks.values()))
    again = "train.checkpoint_activations=true (the same result for more work), or " if helps else ""
    return (
        f"out of memory {where} with {rows} rows at once; set train.micro_batch to {max(1, rows // 2)} or less "
        f"(the same result in several parts), or {again}train on more workers"
    )
