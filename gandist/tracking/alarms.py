"""Alarms with memory: told once when something goes wrong and once when it is over, however often it is looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gandist.tracking.metrics_file import JsonLines, read
from gandist.training.run import RunView

FILE_NAME = "health.jsonl"
MARGIN = 1.5
"""An alarm is over when the value is beyond the threshold by this factor, so that noise does not ring twice."""

CURES = {
    "collapse": "a stronger or more frequent gradient penalty (r1), architecture.pack, a lower learning rate of the "
    "discriminator; go on from a checkpoint before it",
    "classes": "architecture.conditioning, a stronger gradient penalty (r1), architecture.pack",
    "saturation": "a gradient penalty (r1) or spectral norm, augmentations (ada, diffaugment) where images are few, a "
    "lower learning rate of the discriminator",
    "gradient": "loss non-saturating, hinge or wgan-gp instead of minimax, a gradient penalty (r1) or spectral norm, a "
    "lower learning rate of the discriminator",
    "memorisation": "more images, augmentations (ada, diffaugment, flips), narrower networks, a shorter run",
}


@dataclass(frozen=True)
class Reading:
    """What one look at a run found.

    below: values below the threshold are bad; otherwise those above it are. excused: bad ones are to be expected.
    """

    check: str
    value: float
    threshold: float
    text: str
    below: bool = True
    excused: bool = False

    @property
    def bad(self) -> bool:
        """Whether it is on the wrong side of the threshold, without excuse."""
        return not self.excused and (self.value < self.threshold if self.below else self.value > self.threshold)

    @property
    def well(self) -> bool:
        """Whether it is clearly on the right side."""
        return self.value >= self.threshold * MARGIN if self.below else self.value <= self.threshold / MARGIN


class Alarms:
    """Keeps health.jsonl, warns, and asks for a stop or a checkpoint where that is wanted.

    patience: readings in a row that it takes to raise an alarm, and to end it. state: of the same, at the checkpoint
    that a run goes on from; what was raised then is raised still, and is not told again.
    """

    def __init__(
        self, run: RunView, patience: int, stop: tuple[str, ...], save: tuple[str, ...], state: Mapping[str, Any]
    ):
        self._run, self._patience, self._stop, self._save = run, patience, stop, save
        self._path = run.folder / FILE_NAME
        self._kept = [] if run.resumed_from is None else [r for r in read(self._path) if r["step"] <= run.resumed_from]
        self._file = JsonLines(self._path, self._kept) if self._path.exists() else None
        self.raised = set(state.get("raised", ()))
        """Checks whose alarm is not over."""
        self._streak: Counter[str] = Counter(state.get("streak", {}))
        """By check: readings in a row that speak against what was told last."""

    @property
    def state(self) -> dict[str, Any]:
        """What the next attempt begins with."""
        return {"raised": sorted(self.raised), "streak": dict(self._streak)}

    def see(self, step: int, reading: Reading) -> None:
        """One more reading of a check."""
        check, raised = reading.check, reading.check in self.raised
        against = reading.well if raised else reading.bad
        self._streak[check] = self._streak[check] + 1 if against else 0
        if self._streak[check] < self._patience:
            return
        self._streak[check] = 0
        if raised:
            text = reading.text
            self._run.warn(f"health: {check} is over at step {step}: {text}")
        else:
            text = f"{reading.text}; likely cures: {CURES[check]}"
            self._run.warn(f"health: {check} at step {step}: {text}")
            if check in self._stop:
                self._run.request("stop")
            elif check in self._save:
                self._run.request("save")
        self.tell(step, reading, text, not raised)

    def tell(self, step: int, reading: Reading, text: str, raised: bool) -> None:
        """Puts on record that an alarm is raised, or is over, and tells the other watchers."""
        (self.raised.add if raised else self.raised.discard)(reading.check)
        if self._file is None:
            self._file = JsonLines(self._path, self._kept)
        self._file.add(
            {
                "step": step,
                "images": step * self._run.config.images_per_step,
                "check": reading.check,
                "state": "raised" if raised else "over",
                "value": reading.value,
                "threshold": reading.threshold,
                "text": text,
            }
        )
        self._run.alarm(step, reading.check, text, raised)

    def close(self) -> None:
        """Nothing is told after this."""
        if self._file is not None:
            self._file.close()
