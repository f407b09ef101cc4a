"""What the person who started a run sees of it: a progress bar on a terminal, plain lines elsewhere, on stderr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar, Literal

from gandist.contract.components import Watcher
from gandist.contract.hookspecs import hookimpl
from gandist.training.run import RunView


class Console(Watcher):
    """Shows phase, progress, images per second, time left, the losses, D(x) and D(G(z)) on stderr."""

    name: ClassVar[str] = "console"
    place: ClassVar[Literal["rank 0", "driver"]] = "driver"

    enabled: bool = True
    """Whether progress is shown; warnings and errors are, in any case."""

    def watch(self, run: RunView) -> Warnings:
        """A bar if stderr is a terminal, else lines; only warnings when switched off."""
        if not self.enabled:
            return Warnings()
        if sys.stderr.isatty():
            from gandist.tracking.bar import Bar

            return Bar(run)
        return Lines(run)


class Warnings:
    """Shows warnings and nothing else."""

    def say(self, text: str) -> None:
        """Writes a line that stays."""
        print(text, file=sys.stderr, flush=True)

    def on_warning(self, text: str) -> None:
        """A warning to show at once."""
        self.say(f"warning: {text}")


class Lines(Warnings):
    """A line for each logging step, evaluation and checkpoint, and for each phase before the first logging step."""

    def __init__(self, run: RunView):
        self._run = run
        self._phase = ""
        self._rate: float | None = None

    def on_progress(self, phase: str, step: int, images: int, rate: float | None) -> None:
        """Called a few times a second. rate: images per second, None to keep that of the last logging step."""
        if phase != self._phase and self._rate is None:
            self.say(phase)
        self._phase, self._rate = phase, rate or self._rate

    @hookimpl
    def gandist_on_train_start(self, run: RunView) -> None:
        """Says what begins, or begins again after a failure."""
        self._run, self._rate = run, None
        workers = f"{run.world_size} worker{'' if run.world_size == 1 else 's'}"
        begin = "" if run.resumed_from is None else f", going on from step {run.resumed_from}"
        self.say(f"training {run.name}: {run.steps} steps on {workers}{begin}")

    @hookimpl
    def gandist_on_log(self, step: int, scalars: dict[str, float]) -> None:
        """The line of a logging step."""
        self._rate = scalars["images_per_second"]
        self.say("  ".join([f"step {step}/{self._run.steps}", *self._speed(scalars["images"]), *readings(scalars)]))

    @hookimpl
    def gandist_on_evaluation(self, step: int, metrics: dict[str, float]) -> None:
        """The scores of an evaluation, without those of single classes."""
        scores = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items() if "/" not in name)
        self.say(f"evaluation at step {step}: {scores}")

    @hookimpl
    def gandist_on_checkpoint(self, path: Path) -> None:
        """Where the checkpoint lies."""
        self.say(f"saved {path}")

    @hookimpl
    def gandist_on_train_end(self, error: BaseException | None) -> None:
        """Nothing: whoever started the run reports its result or its error."""

    def _speed(self, images: float) -> list[str]:
        """Images per second and the time left, as far as they are known."""
        if not self._rate:
            return []
        left = self._run.steps * self._run.config.images_per_step - images
        return [f"{self._rate:.0f} images/s", f"{clock(max(0.0, left) / self._rate)} left"]


def readings(scalars: dict[str, float]) -> list[str]:
    """ "loss generator 0.71", … for each player's total, then D(x) and D(G(z)), as far as they were logged, and
    the rank that was not heard of for longest."""
    shown: list[str] = []
    for key, value in scalars.items():
        group, _, name = key.partition("/")
        if group == "loss" and name.endswith("/total"):
            shown.append(f"loss {name.removesuffix('/total')} {value:.4g}")
    for key, label in (("probability/real", "D(x)"), ("probability/fake", "D(G(z))")):
        if key in scalars:
            shown.append(f"{label} {scalars[key]:.3f}")
    ages = {key.removeprefix("heartbeat/"): age for key, age in scalars.items() if key.startswith("heartbeat/")}
    if len(ages) > 1:
        oldest = max(ages, key=lambda rank: ages[rank])
        shown.append(f"heartbeats {len(ages)}, oldest {oldest} {ages[oldest]:.1f} s")
    return shown


def clock(seconds: float) -> str:
    """ "2:05", or "1:02:05" from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
