"""Verbs that put a trained run to work: sample, interpolate, evaluate, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gandist.cli.app import JsonOption, RunArgument, verb
from gandist.cli.output import print_result
from gandist.errors import ConfigError

OutOption = Annotated[Path, typer.Option(metavar="PATH", help="What to write; its ending says how.")]
LabelOption = Annotated[int | None, typer.Option(min=0, help="Ask for this class only.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the latents.")]


@verb
def sample(
    run: RunArgument,
    out: OutOption,
    count: Annotated[int, typer.Option(min=1, help="Number of samples.")] = 64,
    seed: SeedOption = 0,
    label: LabelOption = None,
    truncation: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Below 1: less variety, more typical samples.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write samples: a .png grid, a folder of PNGs, or .npz."""
    from gandist.using.load import load
    from gandist.using.pictures import write_samples

    result = write_samples(load(run), out, count=count, seed=seed, label=label, truncation=truncation)
    print_result(result, as_json)


@verb
def interpolate(
    run: RunArgument,
    out: OutOption,
    seed: SeedOption = 0,
    frames: Annotated[int, typer.Option(min=2, help="Pictures on the way.")] = 32,
    stops: Annotated[int, typer.Option(min=2, max=64, help="Latents that it passes.")] = 4,
    way: Annotated[
        str, typer.Option(metavar="spherical|linear", help="Along great circles, or along straight lines.")
    ] = "spherical",
    label: LabelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a walk between latents: .gif, or .png strip.

    A .gif comes back to where it began, a strip does not.

    \b
    gandist interpolate runs/digits --way linear --stops 2 --frames 9 --out strip.png
    """
    from gandist.using.load import load
    from gandist.using.pictures import write_interpolation

    result = write_interpolation(load(run), out, seed=seed, frames=frames, stops=stops, label=label, way=way)
    print_result(result, as_json)


@verb
def evaluate(
    run: RunArgument,
    metrics: Annotated[
        str | None, typer.Option(metavar="A,B", help="Metrics, by name or as a YAML list; the run's own by default.")
    ] = None,
    features: Annotated[
        str | None, typer.Option(metavar="NAME", help="Feature space, or {name: …}; the run's own by default.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights of the feature space; downloaded once by default.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=2, help="Samples; the run's own number by default.")] = None,
    seed: SeedOption = 0,
    against: Annotated[Path | None, typer.Option(metavar="RUN", help="Score this run too.")] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Score the pictures in a folder instead of the run's samples.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Draw samples that a metric suspects, with the nearest real images."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score a trained run, or pictures beside it.

    `gandist plugins` lists metrics and extractors (feature spaces), `gandist plugins kid` says what one is. The
    protocol, all that the figures depend on, comes with them.
    """
    from gandist.using.evaluate import evaluate as score

    result = score(
        Path(run),
        metrics=_names(metrics) if metrics is not None else None,
        features=_yaml("--features", features) if features is not None else None,
        weights=weights,
        count=count,
        seed=seed,
        against=against,
        images=images,
        pictures=pictures,
    )
    print_result(result, as_json)


def _names(metrics: str) -> list[Any]:
    """Names with commas between them, or a list in YAML."""
    if metrics.lstrip().startswith("["):
        return _yaml("--metrics", metrics)
    names = [name.strip() for name in metrics.split(",")]
    if not all(names):
        raise ConfigError(f"--metrics {metrics}: write names with commas between them, e.g. --metrics frechet,classes")
    return names


def _yaml(option: str, text: str) -> Any:
    from gandist.config.overrides import read_overrides

    try:
        return read_overrides([f"value={text}"])[0].value
    except ConfigError:
        raise ConfigError(f"{option} {text}: is no YAML; write a name, or {{name: NAME, FIELD: VALUE}}") from None


@verb
def export(run: RunArgument, out: OutOption, as_json: JsonOption = False) -> None:
    """Write the generator: .safetensors, .onnx or .pt2."""
    from gandist.using.export import export as write
    from gandist.using.load import load

    print_result(write(load(run), out), as_json)
