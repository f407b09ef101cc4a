"""The whole contract of a plugin: what it may provide, and what it may watch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from torch import Tensor

    from gandist.contract.components import Architecture, Augmentation, Dataset, Loss, Regularizer, Watcher
    from gandist.contract.optimizing import Optimizer
    from gandist.contract.scoring import Extractor, Metric

hookspec = pluggy.HookspecMarker("gandist")
hookimpl = pluggy.HookimplMarker("gandist")


@hookspec
def gandist_losses() -> list[type[Loss]]:  # type: ignore[empty-body]
    """Losses to register. Called once, when the plugins are discovered; so are all hooks that provide."""


@hookspec
def gandist_regularizers() -> list[type[Regularizer]]:  # type: ignore[empty-body]
    """Regularizers to register."""


@hookspec
def gandist_architectures() -> list[type[Architecture]]:  # type: ignore[empty-body]
    """Architectures to register."""


@hookspec
def gandist_datasets() -> list[type[Dataset]]:  # type: ignore[empty-body]
    """Data sets to register."""


@hookspec
def gandist_augmentations() -> list[type[Augmentation]]:  # type: ignore[empty-body]
    """Augmentations to register."""


@hookspec
def gandist_optimizers() -> list[type[Optimizer]]:  # type: ignore[empty-body]
    """Optimizers to register."""


@hookspec
def gandist_extractors() -> list[type[Extractor]]:  # type: ignore[empty-body]
    """Feature extractors to register; one is `evaluate.features`."""


@hookspec
def gandist_metrics() -> list[type[Metric]]:  # type: ignore[empty-body]
    """Metrics to register, for the list `evaluate.metrics`."""


@hookspec
def gandist_watchers() -> list[type[Watcher]]:  # type: ignore[empty-body]
    """Watchers to register; each gets the section `tracking.NAME` of the config."""


@hookspec
def gandist_on_train_start(run: Any) -> None:
    """Called once, before the first step. `run` has name, folder, config, world_size, resumed_from (a step or None),
    and request("stop" | "save")."""


@hookspec
def gandist_on_log(run: Any, step: int, scalars: dict[str, float]) -> None:
    """Called at logging steps only, with floats that are already reduced over ranks; `images` is among them."""


@hookspec
def gandist_on_samples(run: Any, step: int, images: Tensor) -> None:
    """Called with samples of the smoothed generator for the same latents each time: uint8 (B, C, H, W) or points."""


@hookspec
def gandist_on_probe(run: Any, step: int, images: Tensor) -> None:
    """Called where a watcher's `probe` asks for it, with samples of the generator as it is trained, without smoothing.

    images: uint8 (B, C, H, W) or points (B, D), as many as the watcher that asked for most wants; sample i is of the
    same latents each time.
    """


@hookspec
def gandist_on_evaluation(run: Any, step: int, metrics: dict[str, float], late: bool) -> None:
    """Called with the metrics of an evaluation, by name.

    late: they stand in no log line, as they come from a process beside the training, of a step that it has left behind.
    A run that goes on after a crash may tell them once more.
    """


@hookspec
def gandist_on_pictures(run: Any, step: int, pictures: dict[str, Tensor]) -> None:
    """Called after an evaluation with what its examinations have drawn, by name: uint8 (C, H, W), 1 or 3 channels."""


@hookspec
def gandist_on_alarm(run: Any, step: int, name: str, text: str, raised: bool) -> None:
    """Called when a watcher has said `run.alarm(step, name, text, raised)`: something is wrong, and text says what and
    which cures are likely; or, with `raised` false, it is so no more."""


@hookspec
def gandist_on_checkpoint(run: Any, step: int, path: Path) -> None:
    """Called when a checkpoint is whole on storage."""


@hookspec
def gandist_on_train_end(run: Any, error: BaseException | None) -> None:
    """Called once, also when the run stops early or fails; `error` is None unless it failed."""
