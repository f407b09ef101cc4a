"""The console's progress bar, for terminals."""

from __future__ import annotations

import atexit
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from gandist.contract.hookspecs import hookimpl
from gandist.tracking.console import Lines, readings
from gandist.training.run import RunView


class Bar(Lines):
    """Phase, bar, speed and time left on one line that moves, the last readings below it; what stays goes above."""

    def __init__(self, run: RunView):
        super().__init__(run)
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            console=self._console,
            expand=True,
        )
        self._task = self._progress.add_task("starting", total=None, speed="")
        self._readings = Text("", no_wrap=True, overflow="ellipsis")
        self._live = Live(
            Group(self._progress, self._readings), console=self._console, refresh_per_second=5, transient=True
        )
        self._live.start()
        # A run that is broken off must not leave the terminal without its cursor.
        atexit.register(self._live.stop)

    def say(self, text: str) -> None:
        """Prints above the bar."""
        self._console.print(text, markup=False, soft_wrap=True)

    def on_progress(self, phase: str, step: int, images: int, rate: float | None) -> None:
        """Moves the bar; it swings to and fro until the first step is done."""
        self._rate = rate or self._rate
        total = self._run.steps if step else None
        speed = "  ".join(self._speed(images))
        self._progress.update(self._task, description=phase, completed=step, total=total, speed=speed)

    @hookimpl
    def gandist_on_log(self, step: int, scalars: dict[str, float]) -> None:
        """Shows the last readings under the bar."""
        self._rate = scalars["images_per_second"]
        self._readings.plain = "  " + "  ".join(readings(scalars))

    @hookimpl
    def gandist_on_checkpoint(self, path: Path) -> None:
        """Nothing: the bar shows the phase."""

    @hookimpl
    def gandist_on_train_end(self, error: BaseException | None) -> None:
        """Leaves the last readings on the screen and takes the bar away."""
        self._live.stop()
        atexit.unregister(self._live.stop)
        if self._readings.plain.strip():
            self.say(self._readings.plain.strip())
