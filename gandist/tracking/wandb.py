"""Weights & Biases as a watcher: one run across restarts, images as the x axis, and no way to hold up the training."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from gandist.contract.components import Watcher
from gandist.contract.hookspecs import hookimpl
from gandist.tracking.aside import Aside
from gandist.tracking.grids import as_drawn, picture
from gandist.tracking.metrics_file import EVALUATION
from gandist.training.run import RunView

INIT_TIMEOUT = 10
"""Seconds that the server is waited for at the start; with what follows, the run is offline in less than 15."""
FINISH_TIMEOUT = 30
"""Seconds that rows still to be sent are waited for at the end; what is left lies on disk for `wandb sync`."""
REMEMBERED = 1000
"""Steps of scores that came late which are kept in mind, so that none is logged twice after a crash."""
END = 55.0
"""Seconds that a run waits for W&B at its end, at most, whatever W&B is doing."""


class Wandb(Watcher):
    """Logs scalars, sample grids and the config to Weights & Biases; off unless `mode` says online or offline."""

    name: ClassVar[str] = "wandb"

    mode: Literal["online", "offline", "disabled"] = "disabled"
    """offline writes into the run folder, for `wandb sync`; online falls back to it when the server is away."""
    project: str = "gandist"
    """Project of the run."""
    entity: str | None = None
    """User or team; null takes the account's default."""
    group: str | None = None
    """Group of runs, for the seeds of one experiment."""
    tags: tuple[str, ...] = ()
    """Tags of the run."""
    machine: bool = False
    """Also send what W&B collects by itself: load, host, command line, git commit, packages."""

    def watch(self, run: RunView) -> WandbLog | None:
        """Starts or goes on with the W&B run that has the run's id. Whatever fails here ends in a warning."""
        if self.mode == "disabled":
            return None
        # Read at import: error reports are posts to a third party, and a prompt for a key would wait for ever.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        try:
            import wandb  # noqa: F401  (here, as two threads should not import at once)
        except Exception as error:
            run.warn(f"tracking.wandb: W&B is off in this run: {_reason(error)}")
            return None
        return WandbLog(run, self._start)

    def _start(self, run: RunView) -> Any:
        """The W&B run, offline if the server is away."""
        import wandb

        if self.mode == "online":
            try:
                return self._init(run, "online")
            except Exception as error:
                run.warn(
                    f"tracking.wandb: no connection to W&B ({_reason(error)}); logging offline instead, send it later "
                    f"with: wandb sync {run.folder / 'wandb'}/offline-run-*"
                )
                # Otherwise the failed attempt still holds the id.
                wandb.teardown()
        return self._init(run, "offline")

    def _init(self, run: RunView, mode: Literal["online", "offline"]) -> Any:
        import wandb

        private: dict[str, Any] = {
            "x_disable_machine_info": True,
            "x_disable_stats": True,
            "x_save_requirements": False,
            "disable_git": True,
            "host": "unnamed",
        }
        settings = wandb.Settings(
            silent=True,
            console="off",
            init_timeout=INIT_TIMEOUT,
            finish_timeout=FINISH_TIMEOUT,
            finish_timeout_raises=True,
            # A killed process loses the rows since the last flush.
            x_transaction_log_flush_interval=1,
            disable_code=True,
            save_code=False,
            **({} if self.machine else private),
        )
        return wandb.init(
            project=self.project,
            entity=self.entity,
            group=self.group,
            tags=self.tags,
            name=run.name,
            id=run.id,
            resume="allow",
            mode=mode,
            dir=run.folder,
            config=run.config.model_dump(mode="json"),
            # A run that the calling script has open stays its own.
            reinit="create_new",
            settings=settings,
        )


class WandbLog:
    """Passes scalars and pictures on, aside of the training. What is repeated after a crash is not logged again.

    start: makes the W&B run, which may take as long as a server that does not answer.
    """

    def __init__(self, run: RunView, start: Callable[[RunView], Any]):
        self._run = run
        self._log: Any = None
        self._mark = run.folder / "wandb" / "progress.json"
        self._logged, evaluated = (-1, []) if run.resumed_from is None else _read_mark(self._mark)
        self._latest, self._evaluated, self._scored = self._logged, set(evaluated), evaluated
        self._aside = Aside("wandb", self._lost)
        self._aside.do(lambda: self._begin(start))

    @hookimpl
    def gandist_on_log(self, step: int, scalars: dict[str, float]) -> None:
        """One row."""
        self._add(step, lambda: scalars)

    @hookimpl
    def gandist_on_evaluation(self, step: int, metrics: dict[str, float], late: bool) -> None:
        """A row for scores that no log line has, at the images of their step, which later rows may have passed."""
        if late and step not in self._evaluated:
            self._evaluated.add(step)
            scores = {f"{EVALUATION}{name}": value for name, value in metrics.items()}
            self._aside.do(lambda: self._row(step * self._run.config.images_per_step, scores, step))

    @hookimpl
    def gandist_on_samples(self, step: int, images: Tensor) -> None:
        """The grid, or the scatter plot, as `samples`."""
        import wandb

        self._add(step, lambda: {"samples": wandb.Image(picture(images))})

    @hookimpl
    def gandist_on_pictures(self, step: int, pictures: dict[str, Tensor]) -> None:
        """What examinations have drawn, each as `pictures/NAME`."""
        import wandb

        self._add(
            step, lambda: {f"pictures/{name}": wandb.Image(as_drawn(picture)) for name, picture in pictures.items()}
        )

    @hookimpl
    def gandist_on_alarm(self, step: int, name: str, text: str, raised: bool) -> None:
        """An alert, which the server sends by mail or Slack where the account asks for it."""
        title, level = (name, "WARN") if raised else (f"{name} is over", "INFO")
        if step * self._run.config.images_per_step > self._logged:
            self._aside.do(lambda: self._log.alert(title=title, text=text, level=level))

    @hookimpl
    def gandist_on_train_end(self, error: BaseException | None) -> None:
        """Marks the run as finished or failed; waits at most `END` seconds."""
        self._aside.do(lambda: self._finish(0 if error is None else 1))
        self._aside.end(END)

    def _begin(self, start: Callable[[RunView], Any]) -> None:
        self._log = start(self._run)
        # W&B's own step starts again with each process, so the x axis is a value in each row.
        self._log.define_metric("images", hidden=True)
        self._log.define_metric("*", step_metric="images")

    def _add(self, step: int, values: Callable[[], dict[str, Any]]) -> None:
        images = step * self._run.config.images_per_step
        if images > self._logged:
            self._aside.do(lambda: self._row(images, values()))

    def _row(self, images: int, values: dict[str, Any], evaluated: int | None = None) -> None:
        self._log.log({**values, "images": images})
        self._latest = max(self._latest, images)
        self._scored += [evaluated] if evaluated is not None else []
        partial = self._mark.with_name(self._mark.name + ".partial")
        mark = {"images": self._latest, "evaluated": self._scored[-REMEMBERED:]}
        partial.write_text(json.dumps(mark), encoding="utf-8")
        partial.replace(self._mark)

    def _finish(self, code: int) -> None:
        try:
            self._log.finish(exit_code=code)
        except TimeoutError:
            self._run.warn(
                f"tracking.wandb: the server did not take everything within {FINISH_TIMEOUT} s; send it later with: "
                f"wandb sync --include-online {self._run.folder / 'wandb'}/run-*"
            )

    def _lost(self, reason: str) -> None:
        self._run.warn(f"tracking.wandb: W&B is off from here on: {reason}; metrics.jsonl and samples go on")


def _read_mark(path: Path) -> tuple[int, list[int]]:
    """The images of the furthest row, and the steps whose scores came late; (-1, []) where nothing is known."""
    try:
        mark = json.loads(path.read_text(encoding="utf-8"))
        return int(mark["images"]), [int(step) for step in mark.get("evaluated", [])]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError, AttributeError):
        return -1, []


def _reason(error: Exception) -> str:
    """First line of the error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
