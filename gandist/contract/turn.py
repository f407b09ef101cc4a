"""The one argument of every method: one player's move on one part of the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from gandist.contract.collective import all_rows
from gandist.contract.component import Component
from gandist.contract.noise import Noise


class Verdict(NamedTuple):
    """What a discriminator says of a batch: logits (B,), and what some methods need beside them.

    One that judges every patch of an image, or several things at once, has logits (B, …): a mean over them is the mean
    over samples and patches.
    """

    logits: Tensor
    classes: Tensor | None = None
    features: Any = None


class Memory(nn.Module):
    """A component's buffers, owned by the engine and saved in the checkpoint; `memory.p` is the buffer named p."""

    def __init__(self, initial: Mapping[str, Tensor]):
        super().__init__()
        for name, value in initial.items():
            self.register_buffer(name, value.clone())

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Tensor:
            """The buffer of that name."""
            ...


@dataclass(frozen=True)
class Span:
    """Which rows of the global batch a part holds: start ≤ row < stop of total."""

    start: int
    stop: int
    total: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Moment:
    """When a turn is played. number: position in loss.turns; count: how many turns this player has had before; images:
    seen before this step."""

    seed: int
    step: int
    number: int
    count: int
    images: int = 0


def as_played(entry: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """An entry of a batch as turns give it: images uint8 (B, C, H, W) as numbers in [-1, 1], points of that type,
    labels as they are."""
    if entry.dtype == torch.uint8:
        return entry.to(dtype).div_(127.5).sub_(1)
    return entry.to(dtype) if entry.is_floating_point() else entry


def slopes(logits: Tensor, images: Tensor) -> Tensor:
    """Gradient of each logit with respect to its own image, flattened: (B, C·H·W), differentiable again."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.flatten(1)


@dataclass(eq=False)
class Turn:
    """One player's move on one part of the batch.

    It owns everything that depends on (seed, step, turn, index in the global batch), so that no method can get that
    wrong, and everything that would otherwise be computed twice: `real`, `latents`, `fake`, `on_real` and `on_fake`
    are made on first use and kept. In another player's turn the fakes carry no graph.

    players: by name. role: who acts. rows: this part's entries of the batch, on the device. smoothed: the moving
    averages of those players of which one is kept, in eval mode, as they were before this turn.
    """

    players: Mapping[str, nn.Module]
    role: str
    rows: Mapping[str, Tensor]
    span: Span
    moment: Moment
    differentiable: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    memories: Mapping[str, Memory] = field(default_factory=dict)
    augment: Callable[[Tensor, Turn], Tensor] | None = None
    smoothed: Mapping[str, nn.Module] = field(default_factory=dict)
    seen: dict[str, Tensor] = field(default_factory=dict)
    _noises: dict[str, Noise] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of rows in this part."""
        return len(self.span)

    def __getitem__(self, entry: str) -> Tensor:
        """An entry of the batch; images come as float (B, C, H, W) in [-1, 1]."""
        return as_played(self.rows[entry], self.dtype)

    @property
    def step(self) -> int:
        """Steps finished before this one."""
        return self.moment.step

    @property
    def number(self) -> int:
        """Position of this turn in loss.turns."""
        return self.moment.number

    @property
    def count(self) -> int:
        """Turns that this player has had before this one."""
        return self.moment.count

    @property
    def images(self) -> int:
        """Images seen before this step."""
        return self.moment.images

    @cached_property
    def real(self) -> Tensor:
        """Real samples: images (B, C, H, W) in [-1, 1], or points (B, D)."""
        real = self["real"]
        return real.requires_grad_() if self.differentiable else real

    @cached_property
    def labels(self) -> Tensor | None:
        """Labels of the real samples, int64 (B,), or None. The fakes are asked for with these same labels."""
        return self.rows.get("labels")

    @cached_property
    def latents(self) -> Any:
        """What the generator draws for these rows."""
        return self.players["generator"].draw(self.noise("latents"), len(self))  # type: ignore[operator]

    @cached_property
    def fake(self) -> Tensor:
        """Generated samples, with a graph to the generator's weights in the generator's turn only."""
        with torch.set_grad_enabled(self.role == "generator" and torch.is_grad_enabled()):
            # Losses and penalties compute in full precision, whatever autocast made of the networks.
            fake = self.players["generator"](self.latents, self.labels).to(self.dtype)
        if self.role == "generator":
            return fake
        return fake.requires_grad_() if self.differentiable else fake

    @cached_property
    def on_real(self) -> Verdict:
        """The discriminator's verdict on `real`."""
        return self.judge(self.real, self.labels, name="real")

    @cached_property
    def on_fake(self) -> Verdict:
        """The discriminator's verdict on `fake`."""
        return self.judge(self.fake, self.labels, name="fake")

    def judge(
        self,
        images: Tensor,
        labels: Tensor | None = None,
        critic: Callable[[Tensor, Tensor | None], Any] | None = None,
        name: str | None = None,
    ) -> Verdict:
        """Augments the images and asks the discriminator, or `critic`: one of its several networks, or any function of
        images and labels that asks one.

        name: remember the logits under it, for the logs and for `update`.
        """
        if self.augment is not None:
            images = self.augment(images, self)
        answer = (critic or self.players["discriminator"])(images, labels)
        verdict = answer if isinstance(answer, Verdict) else Verdict(answer)
        verdict = verdict._replace(logits=verdict.logits.to(self.dtype))
        if name is not None:
            self.remember(name, verdict.logits)
        return verdict

    def noise(self, name: str) -> Noise:
        """The stream of random rows of that name, keyed by (seed, step, turn, name, n-th request)."""
        if name not in self._noises:
            at = self.moment
            self._noises[name] = Noise(
                at.seed,
                at.step,
                at.number,
                name,
                start=self.span.start,
                stop=self.span.stop,
                total=self.span.total,
                device=self.device,
                dtype=self.dtype,
            )
        return self._noises[name]

    def memory(self, component: Component) -> Memory:
        """That component's buffers. Read-only during a turn: change them in `update`."""
        return self.memories[component.key]

    def remember(self, name: str, rows: Tensor) -> None:
        """Keeps detached per-sample rows for `update` and the logs."""
        self.seen[name] = rows.detach()

    def everyone(self, rows: Tensor) -> Tensor:
        """The rows of all ranks in the order of the global batch, with gradient."""
        return all_rows(rows, self.span.start, self.span.total)


class Seen(Mapping[str, Tensor]):
    """What one turn remembered: `seen["real"]` is the rows of the global batch in order, gathered only when asked."""

    def __init__(self, role: str, parts: list[dict[str, Tensor]], span: Span):
        self.role = role
        self._parts, self._span = parts, span

    def local(self, name: str) -> Tensor:
        """This rank's rows."""
        return torch.cat([part[name] for part in self._parts])

    def __getitem__(self, name: str) -> Tensor:
        return all_rows(self.local(name), self._span.start, self._span.total)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts[0])

    def __len__(self) -> int:
        return len(self._parts[0])
