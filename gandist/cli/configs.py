"""Verbs about configs: check, config, schema."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gandist.cli.app import ConfigArgument, JsonOption, OverridesArgument, verb
from gandist.cli.output import print_json

if TYPE_CHECKING:
    from gandist.config.check import Opened
    from gandist.config.schema import Config

SHOWN = 64
"""Images in the picture of a batch, at most."""


@verb
def check(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    show: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the first batch as the discriminator will see it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check all that can fail before training: every problem."""
    from gandist.config.check import check as check_parts
    from gandist.config.compose import compose
    from gandist.config.resolve import resolve
    from gandist.evaluation.metrics import validate
    from gandist.launch.resources import require, this_machine
    from gandist.training.start import require as require_start

    composed = compose(config, overrides or [])
    resolved = resolve(composed)
    opened = check_parts(resolved, composed, validate)
    require_start(resolved, opened.players)
    warnings = [*opened.warnings, *require(resolved, this_machine())]
    summary = _summary(resolved, opened)
    if show is not None:
        _draw(resolved, opened, show)
        summary["picture"] = str(show)
    if as_json:
        print_json({**summary, "warnings": warnings})
        return
    print(f"{composed.title}: no problems")
    for line in _told(summary):
        print(f"  {line}")
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _summary(config: Config, opened: Opened) -> dict[str, Any]:
    facts = opened.source.facts
    return {
        "run": config.run.name,
        "dataset": {
            "name": config.dataset.name,
            "samples": facts.size,
            "shape": list(facts.shape),
            "classes": facts.classes,
            "elsewhere": sum(stream.elsewhere for stream in opened.source.streams().values()),
        },
        "architecture": config.architecture.name,
        "parameters": {name: sum(p.numel() for p in net.parameters()) for name, net in opened.players.items()},
        "loss": config.loss.name,
        "turns": list(config.loss.turns),
        "steps": config.steps,
        "images_per_step": config.images_per_step,
        "workers": config.cluster.workers,
    }


def _told(summary: dict[str, Any]) -> list[str]:
    from gandist.data.cache import shown_size

    data = summary["dataset"]
    shape = "×".join(str(size) for size in data["shape"])
    classes = f", {data['classes']} classes" if data["classes"] else ", no labels"
    sizes = ", ".join(f"{name} {count:,}" for name, count in summary["parameters"].items())
    elsewhere = f"; {shown_size(data['elsewhere'])} to fetch to each node" if data["elsewhere"] else ""
    lines = [
        f"data set      {data['name']}: {data['samples']:,} samples of {shape}{classes}{elsewhere}",
        f"architecture  {summary['architecture']}: {sizes} parameters",
        f"loss          {summary['loss']}: {', '.join(summary['turns'])}",
        f"run           {summary['run']}: {summary['steps']:,} steps of {summary['images_per_step']:,} images",
        f"workers       {summary['workers']}",
    ]
    return [*lines, *([f"picture       {summary['picture']}"] if "picture" in summary else [])]


def _draw(config: Config, opened: Opened, path: Path) -> None:
    import torch

    from gandist.contract.turn import Moment, Span, Turn
    from gandist.errors import ConfigError
    from gandist.tracking.grids import picture
    from gandist.training.batches import Batches
    from gandist.training.sampling import to_bytes

    rows = config.train.batch_size
    span = Span(0, min(rows, SHOWN), rows)
    batches = Batches(opened.source, config.run.seed, span, loaders=0, device=torch.device("cpu"))
    moment = Moment(config.run.seed, step=0, number=0, count=0)
    turn = Turn(opened.players, "discriminator", batches.take(0), span, moment)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(to_bytes(turn.real)).save(path, format="PNG")
    except OSError as error:
        raise ConfigError(f"--show {path}: cannot be written: {error.strerror or error}") from None


@verb
def config(path: ConfigArgument, overrides: OverridesArgument = None, as_json: JsonOption = False) -> None:
    """Print the complete config, and which file set each key."""
    from gandist.config.annotate import annotated, origins
    from gandist.config.compose import compose
    from gandist.config.resolve import resolve

    composed = compose(path, overrides or [])
    complete = resolve(composed).model_dump(mode="json")
    if as_json:
        print_json({"config": complete, "origin": origins(complete, composed.origin)})
    else:
        print(annotated(complete, composed.origin), end="")


@verb
def schema(sweep: Annotated[bool, typer.Option("--sweep", help="Of a sweep file instead.")] = False) -> None:
    """Print the JSON Schema of a config, for editors."""
    from gandist.config.json_schema import json_schema, sweep_schema

    print_json(sweep_schema() if sweep else json_schema())
