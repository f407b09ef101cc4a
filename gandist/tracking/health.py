"""Is the game still going? Warns of what ends it while it happens; docs/health.md has every check and why."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from gandist.contract.components import Probe, Watcher
from gandist.contract.hookspecs import hookimpl
from gandist.errors import NotFiniteError
from gandist.tracking import looks
from gandist.tracking.alarms import MARGIN, Alarms, Reading
from gandist.tracking.diversity import features
from gandist.training.run import RunView

Check = Literal["collapse", "classes", "saturation", "gradient", "memorisation"]


class Health(Watcher):
    """Warns of mode collapse, a saturated discriminator, vanishing gradients and memorised images, with the cures."""

    name: ClassVar[str] = "health"

    enabled: bool = True
    """Whether anybody looks."""
    every: int = Field(default=100, ge=1)
    """Steps between probes of the generator. Logits and gradients are looked at where logged (`train.log_every`)."""
    count: int = Field(default=64, ge=8, le=1024)
    """Samples of a probe, always of the same latents."""
    patience: int = Field(default=3, ge=1)
    """Looks in a row that it takes to raise an alarm, and to end it."""
    diversity: float | None = Field(default=0.1, gt=0, lt=1)
    """collapse: least share of different samples in a probe, 0 if all are alike, 1 as if real; null: no check."""
    classes: float | None = Field(default=0.5, gt=0, lt=1)
    """classes: least number of classes that an evaluation finds, as a share of that of real samples; null: no check."""
    gap: float | None = Field(default=10.0, gt=0, allow_inf_nan=False)
    """saturation: greatest gap between the mean logits of real and generated samples; null: no check."""
    accuracy: float = Field(default=0.99, gt=0.5, lt=1)
    """saturation: the gap counts where the discriminator is right about this share of real and of generated samples."""
    gradient: float | None = Field(default=1e-3, gt=0, lt=1)
    """gradient: least norm of the generator's gradient, as a share of what it was in this run; null: no check."""
    memorisation: float | None = Field(default=0.3, gt=0, lt=1)
    """memorisation: least distance of samples to training images, as a share of that between these; null: no check."""
    stop: tuple[Check, ...] = ()
    """Checks whose alarm ends the run with a checkpoint, exit code 3."""
    save: tuple[Check, ...] = ()
    """Checks whose alarm asks for a checkpoint."""

    @property
    def probe(self) -> Probe | None:
        """`count` samples every `every` steps."""
        return Probe(self.every, self.count) if self.enabled else None

    def watch(self, run: RunView) -> HealthLog | None:
        """The one who looks, or None when switched off."""
        return HealthLog(self, run) if self.enabled else None


class HealthLog:
    """Looks at what the run shows, and gives the readings to the alarms."""

    def __init__(self, health: Health, run: RunView):
        kept = run.kept.get(Health.name, {})
        self._health, self._run, self._begun = health, run, bool(kept.get("begun"))
        self._alarms = Alarms(run, health.patience, health.stop, health.save, kept.get("alarms", {}))
        self._gradient = looks.Gradient(**kept.get("gradient", {}))

    @hookimpl
    def gandist_on_probe(self, step: int, images: Tensor) -> None:
        """How far the samples are from each other and from training images."""
        health, real = self._health, self._real
        if step % health.every or real is None:
            return
        rows = features(images[: health.count])
        if health.diversity is not None:
            reading = real.collapse(rows, health.diversity, self._begun)
            self._see(step, reading, "health/diversity")
            self._note(reading and reading.value)
        if health.memorisation is not None:
            self._see(step, real.memorisation(rows, health.memorisation), "health/nearest")
        self._run.record("health/alarms", float(len(self._alarms.raised)))
        self._keep()

    @hookimpl
    def gandist_on_log(self, step: int, scalars: dict[str, float]) -> None:
        """How sure the discriminator is, and what the generator learns from it."""
        health, norm = self._health, scalars.get("gradient_norm/generator")
        if health.gap is not None and not self._run.config.loss.critic:
            self._see(step, looks.saturation(scalars, health.gap, health.accuracy))
        if norm is not None:
            if health.gradient is not None:
                self._see(step, self._gradient.vanished(norm, health.gradient))
            self._gradient.remember(norm)
        self._keep()

    @hookimpl
    def gandist_on_evaluation(self, step: int, metrics: dict[str, float]) -> None:
        """Which classes the samples have."""
        least = self._health.classes
        if least is not None and self._real is not None:
            self._see(step, looks.classes(metrics, self._real.classes, least), "health/classes")
            self._keep()

    @hookimpl
    def gandist_on_train_end(self, error: BaseException | None) -> None:
        """The engine has ended the run over a value that was not finite: that goes on record."""
        if isinstance(error, NotFiniteError):
            self._alarms.tell(error.step, Reading("not finite", float("nan"), 0.0, ""), str(error), raised=True)
        self._alarms.close()

    @cached_property
    def _real(self) -> looks.RealSide | None:
        """Read when it is needed first; None where the data have nothing that the generator imitates."""
        streams = self._run.source.streams().values() if self._run.source is not None else ()
        return next((looks.RealSide(one, self._health.count) for one in streams if "real" in one.read([0])), None)

    def _keep(self) -> None:
        """A look made after the last checkpoint is made again by the next attempt, and must not count twice."""
        state = {"begun": self._begun, "alarms": self._alarms.state, "gradient": self._gradient.state}
        self._run.keep(Health.name, state)

    def _note(self, diversity: float | None) -> None:
        """Whether the samples have been different from each other by now."""
        self._begun = self._begun or (diversity or 0.0) >= MARGIN * (self._health.diversity or 1.0)

    def _see(self, step: int, reading: Reading | None, key: str | None = None) -> None:
        if reading is not None:
            self._alarms.see(step, reading)
            if key is not None:
                self._run.record(key, reading.value)
