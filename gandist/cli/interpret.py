"""The verb that shows what a trained run has learnt: interpret, with its kinds of picture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from gandist.cli.app import JsonOption, MetadataOption, RunArgument, app, guarded
from gandist.cli.output import print_json, print_rows
from gandist.errors import ConfigError

if TYPE_CHECKING:
    from gandist.using.trained import Trained

OutOption = Annotated[Path, typer.Option(metavar="FILE", help="What to write; its ending says how.")]
LabelOption = Annotated[int | None, typer.Option(min=0, help="Of this class, where the generator heeds labels.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the samples that are shown.")]
CountOption = Annotated[int, typer.Option(min=1, help="Directions.")]
SamplesOption = Annotated[int, typer.Option(min=1, help="Samples that are moved along each.")]
SpanOption = Annotated[float, typer.Option(help="How far each way, in standard deviations.")]
StepsOption = Annotated[int, typer.Option(min=2, help="Columns of a .png.")]
LayersOption = Annotated[
    str | None,
    typer.Option(metavar="A..B", help="Styles of these layers only, e.g. 0..3 or 0,2,5..7; the first are coarse."),
]


class _RunFirst(TyperGroup):
    """A group whose verbs follow RUN. `gandist interpret VERB --help` shows their help without one, too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts in a RUN where there is none and only help is asked for."""
        if len(args) > 1 and args[0] in self.commands and "--help" in args:
            args = ["RUN", *args]
        return super().parse_args(ctx, args)


interpret = typer.Typer(cls=_RunFirst, no_args_is_help=True, rich_markup_mode=None)
app.add_typer(interpret, name="interpret")


@interpret.callback()
def _of(context: typer.Context, run: RunArgument) -> None:
    """Draw what a run has learnt.

    \b
    gandist interpret runs/digits directions --out directions.png
    gandist interpret runs/digits neighbours --help
    """
    context.obj = run


@interpret.command()
@guarded
def directions(
    context: typer.Context,
    out: OutOption,
    count: CountOption = 8,
    samples: SamplesOption = 1,
    span: SpanOption = 3.0,
    steps: StepsOption = 7,
    seed: SeedOption = 0,
    label: LabelOption = None,
    layers: LayersOption = None,
    latents: Annotated[int, typer.Option(min=2, help="Latents that the directions are found from.")] = 20_000,
    metadata: MetadataOption = True,
    as_json: JsonOption = False,
) -> None:
    """Draw what samples vary in most (GANSpace).

    Principal directions. A sheet (.png): a row for each direction with its share of the variance, the sample in the
    middle, moved to both sides. A .gif moves the samples there and back; an .npz holds the directions as numbers. Of a
    generator with styles these are the principal components of its styles; of others, those of its first layer's
    features, carried back to latents.

    \b
    gandist interpret runs/digits directions --count 5 --samples 2 --out directions.png
    """
    from gandist.using.interpreting.directions import find_directions

    shown = (out, samples, span, steps, metadata)
    _walk(context, shown, count, seed, label, layers, as_json, find_directions, latents=latents)


@interpret.command()
@guarded
def factors(
    context: typer.Context,
    out: OutOption,
    count: CountOption = 8,
    samples: SamplesOption = 1,
    span: SpanOption = 3.0,
    steps: StepsOption = 7,
    seed: SeedOption = 0,
    label: LabelOption = None,
    layers: LayersOption = None,
    metadata: MetadataOption = True,
    as_json: JsonOption = False,
) -> None:
    """Draw what the first weights stretch (SeFa).

    Eigenvectors of the weights that latents, or styles, meet first; no samples are needed to find them. The share is
    that of all squared weights. Files are as for directions.

    \b
    gandist interpret runs/faces factors --layers 0..3 --out pose.gif
    """
    from gandist.using.interpreting.factors import find_factors

    shown = (out, samples, span, steps, metadata)
    _walk(context, shown, count, seed, label, layers, as_json, find_factors)


def _walk(
    context: typer.Context,
    shown: tuple[Path, int, float, int, bool],
    count: int,
    seed: int,
    label: int | None,
    layers: str | None,
    as_json: bool,
    find: Any,
    **how: Any,
) -> None:
    from gandist.using.interpreting.spaces import Space
    from gandist.using.interpreting.walks import require_walk, told, write_walks

    out, samples, span, steps, metadata = shown
    require_walk(out, count, samples, span, steps)
    space = Space(_loaded(context), seed, label, layers)
    found = find(space, count, **how)
    write_walks(space, found, out, samples, span, steps, metadata)
    result = told(space, found, out)
    rows = result.pop("directions") if not as_json else []
    _print(result, as_json)
    for number, row in enumerate(rows, start=1):
        linear = f", {row['linear']:.0%} of it linear in the latents" if "linear" in row else ""
        print(f"  {number:>2}  {row['share']:6.1%}{linear}")


@interpret.command()
@guarded
def truncation(
    context: typer.Context,
    out: OutOption,
    psi: Annotated[
        str, typer.Option(metavar="A,B", help="Strengths, above 0 and at most 1.")
    ] = "0.2,0.4,0.6,0.7,0.8,1",
    samples: Annotated[int, typer.Option(min=1, help="Samples that are shown.")] = 6,
    seed: SeedOption = 0,
    label: LabelOption = None,
    metadata: MetadataOption = True,
    as_json: JsonOption = False,
) -> None:
    """Draw samples at several truncations.

    As `sample --truncation` makes them, with how various they are. A sheet (.png): a row for each sample, a column for
    each psi. A .gif goes from the smallest psi to the largest and back.

    \b
    gandist interpret runs/digits truncation --psi 0.3,0.5,0.7,1 --out truncation.png
    """
    from gandist.using.interpreting.truncation import write_truncation

    result = write_truncation(_loaded(context), out, _numbers(psi), samples, seed, label, metadata)
    _print(result, as_json)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--psi {text}: write numbers with commas between them, e.g. --psi 0.5,0.7,1") from None


@interpret.command()
@guarded
def neighbours(
    context: typer.Context,
    out: OutOption,
    count: Annotated[int, typer.Option(min=1, help="Samples.")] = 8,
    nearest: Annotated[int, typer.Option(min=1, help="Training images beside each.")] = 6,
    features: Annotated[
        str | None, typer.Option(metavar="NAME", help="Compare these features, e.g. classifier; else pixels.")
    ] = None,
    seed: SeedOption = 0,
    label: LabelOption = None,
    truncation: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="As of gandist sample.")] = None,
    metadata: MetadataOption = True,
    as_json: JsonOption = False,
) -> None:
    """Draw samples beside the nearest real images.

    Shows whether a generator repeats what it was trained on. The whole data set is looked through; under each image
    stand its index there and the distance.

    \b
    gandist interpret runs/digits neighbours --count 10 --features classifier --out neighbours.png
    """
    from gandist.using.interpreting.neighbours import write_neighbours

    trained = _loaded(context)
    result = write_neighbours(trained, out, count, nearest, features, seed, label, truncation, metadata)
    rows = result.pop("neighbours") if not as_json else []
    _print(result, as_json)
    for row in rows:
        pairs = zip(row["indices"], row["distances"], strict=True)
        print(f"  sample {row['sample']}: " + ", ".join(f"#{index} at {distance:.3g}" for index, distance in pairs))


@interpret.command()
@guarded
def scores(
    context: typer.Context,
    out: OutOption,
    count: Annotated[int, typer.Option(min=1, help="Samples of each kind, at most.")] = 2000,
    bins: Annotated[int, typer.Option(min=2, max=400, help="Bars of the histogram.")] = 48,
    seed: SeedOption = 0,
    label: LabelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw what the discriminator says.

    A histogram of its logits of real and fake samples. Where the run was trained on one part of a data set that has
    train and test, the other is shown beside it: a discriminator that gives it much less than its training data has
    learnt those by heart. Works on points too, and needs a checkpoint.

    \b
    gandist interpret runs/digits scores --count 1000 --out scores.png
    """
    from gandist.using.interpreting.scores import write_scores

    result = write_scores(_loaded(context), out, count, seed, label, bins)
    if not as_json:
        del result["histogram"]
        for name, numbers in result.pop("logits").items():
            result[name] = f"mean {numbers['mean']:.3f}, deviation {numbers['deviation']:.3f}, of {numbers['count']:,}"
        result |= {pair: f"{share:.1%}" for pair, share in result.pop("ranked_above").items()}
    _print(result, as_json)


def _loaded(context: typer.Context) -> Trained:
    import torch

    from gandist.using.load import load

    return load(context.obj, "cuda" if torch.cuda.is_available() else "cpu")


def _print(result: dict[str, Any], as_json: bool) -> None:
    """The result; a warning in it goes to stderr as well, and what is None says nothing to a reader."""
    if "warning" in result:
        print(f"warning: {result['warning']}", file=sys.stderr)
    if as_json:
        print_json(result)
        return
    shown = {name: value for name, value in result.items() if value is not None and name != "warning"}
    print_rows([(name, _short(value)) for name, value in shown.items()])


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_short(one) for one in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
