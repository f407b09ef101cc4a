"""Weights & Biases as a watcher: one run across restarts, images as the x axis, and no way to hold up the training."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from gandist.contract.components import Watcher
from gandist.contract.hookspecs import hookimpl
from gandist.tracking.grids import picture
from gandist.training.run import RunView

INIT_TIMEOUT = 15
"""Seconds that training waits for the server at its start, at most."""
FINISH_TIMEOUT = 30
"""Seconds that the run waits at its end for rows still to be sent; what is left lies on disk for `wandb sync`."""


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
            return WandbLog(run, self._start(run))
        except Exception as error:
            run.warn(f"tracking.wandb: W&B is off in this run: {_reason(error)}")
            return None

    def _start(self, run: RunView) -> Any:
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
    """Passes scalars and pictures on. Work that is repeated after a crash is not logged a second time."""

    def __init__(self, run: RunView, log: Any):
        self._run = run
        self._log = log
        self._mark = run.folder / "wandb" / "progress.json"
        self._logged = -1 if run.resumed_from is None else _read_mark(self._mark)
        # W&B's own step starts again with each process, so the x axis is a value in each row.
        log.define_metric("images", hidden=True)
        log.define_metric("*", step_metric="images")

    @hookimpl
    def gandist_on_log(self, step: int, scalars: dict[str, float]) -> None:
        """One row."""
        self._add(step, scalars)

    @hookimpl
    def gandist_on_samples(self, step: int, images: Tensor) -> None:
        """The grid, or the scatter plot, as `samples`."""
        import wandb

        self._add(step, {"samples": wandb.Image(picture(images))})

    @hookimpl
    def gandist_on_train_end(self, error: BaseException | None) -> None:
        """Marks the run as finished or failed; waits at most `FINISH_TIMEOUT` seconds."""
        self._log.finish(exit_code=0 if error is None else 1)

    def _add(self, step: int, values: dict[str, Any]) -> None:
        images = step * self._run.config.images_per_step
        if images <= self._logged:
            return
        self._log.log({**values, "images": images})
        partial = self._mark.with_name(self._mark.name + ".partial")
        partial.write_text(json.dumps({"images": images}), encoding="utf-8")
        partial.replace(self._mark)


def _read_mark(path: Path) -> int:
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["images"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1


def _reason(error: Exception) -> str:
    """First line of the error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
