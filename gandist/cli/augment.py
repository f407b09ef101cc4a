"""The verb that adds synthetic images to a labelled data set, and measures whether they help."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gandist.cli.app import JsonOption, MetadataOption, RunArgument, verb
from gandist.cli.output import print_json, print_result, print_rows
from gandist.errors import ConfigError

if TYPE_CHECKING:
    from gandist.using.augmenting.made import Maker
    from gandist.using.trained import Trained


@verb
def augment(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="The new folder of the data set.")] = None,
    per_class: Annotated[int | None, typer.Option(min=1, help="Images of every class.")] = None,
    counts: Annotated[
        str | None, typer.Option(metavar="{CLASS: N}|FILE", help="Images of each class, in YAML or a file of it.")
    ] = None,
    balance: Annotated[bool, typer.Option("--balance", help="What each class lacks to be as large as any.")] = False,
    keep: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Keep the best share by the discriminator.")
    ] = None,
    agree: Annotated[
        float | None,
        typer.Option(
            metavar="P", help="Keep what a classifier of the run's data gives this much of the class asked for."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the latents; --measure has 0, 1, ….")] = 0,
    measure: Annotated[bool, typer.Option("--measure", help="Tell whether they help, and write nothing.")] = False,
    real: Annotated[
        int | None, typer.Option(min=1, help="With --measure: real images a class that are added to; 10.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="With --measure: repetitions; 5.")] = None,
    metadata: MetadataOption = True,
    as_json: JsonOption = False,
) -> None:
    """Write labelled synthetic images, or measure if they help.

    A folder a class and labels.csv. --measure trains a small classifier on a few real images, with standard
    augmentation, and with synthetic images added, and tests it on others.

    \b
    gandist augment runs/conditional-digits --per-class 200 --out more
    gandist augment runs/conditional-digits --counts '{3: 50, 8: 120}' --agree 0.9 --out more
    gandist augment runs/conditional-digits --measure --real 10
    """
    import torch

    from gandist.using.augmenting.asked import require_labelled
    from gandist.using.load import load

    asked = {"--counts": counts, "--balance": balance or None, "--out": out}
    alone = {"--real": real, "--seeds": seeds}
    ways = [name for name in ("--per-class", "--counts", "--balance") if (asked | {"--per-class": per_class})[name]]
    if measure and (given := [name for name, value in asked.items() if value is not None]):
        raise ConfigError(f"--measure writes no images, so it does not take {given[0]}; leave out one of them")
    if not measure and (given := [name for name, value in alone.items() if value is not None]):
        raise ConfigError(f"{given[0]} belongs to --measure; leave it out, or ask for --measure")
    if not measure and out is None:
        raise ConfigError("give --out FOLDER for the images, or --measure to see whether they help")
    if not measure and len(ways) != 1:
        said = f"not {' and '.join(ways)} together" if ways else "e.g. --per-class 100"
        raise ConfigError(f"say how many images with one of --per-class N, --counts or --balance, {said}")
    trained = load(run, "cuda" if torch.cuda.is_available() else "cpu")
    require_labelled(trained)
    if out is None:
        _measure(_maker(trained, keep, agree), per_class, real, seeds, as_json)
        return
    from gandist.using.augmenting.folder import require_empty, write_data_set

    require_empty(out)
    wanted = _wanted(trained, per_class, counts)
    print_result(write_data_set(_maker(trained, keep, agree), wanted, out, seed, metadata), as_json)


def _wanted(trained: Trained, per_class: int | None, counts: str | None) -> dict[int, int]:
    from gandist.using.augmenting.asked import alike, listed, missing
    from gandist.using.interpreting.real import training_data

    if per_class is not None:
        return alike(trained.facts, per_class)
    if counts is not None:
        return listed(trained.facts, counts)
    source, warning = training_data(trained)
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    return missing(source)


def _maker(trained: Trained, keep: float | None, agree: float | None) -> Maker:
    from gandist.evaluation.fitting import fitted_classifier
    from gandist.using.augmenting.made import Maker
    from gandist.using.interpreting.real import training_data

    maker = Maker(trained, keep, agree)
    if agree is None:
        return maker
    source, warning = training_data(trained)
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    return Maker(trained, keep, agree, fitted_classifier(source, trained.device))


def _measure(maker: Maker, per_class: int | None, real: int | None, seeds: int | None, as_json: bool) -> None:
    from gandist.using.augmenting.measure import PER_CLASS, REAL, SEEDS, measure

    wanted = {"real": real or REAL, "per_class": per_class or PER_CLASS, "seeds": seeds or SEEDS}

    def told(seed: int) -> None:
        print(f"seed {seed + 1} of {wanted['seeds']} done", file=sys.stderr)

    result = measure(maker, **wanted, told=told)
    if as_json:
        print_json(result)
        return
    print(
        f"accuracy on {result['test_images']:,} test images ({result['test']}), mean over {result['seeds']} seeds "
        "and its 95% interval"
    )
    few, added = f"{result['real_per_class']} real images a class", f"{result['synthetic_per_class']} synthetic a class"
    lines = {"real": few, "standard": f"{few}, standard augmentation", "synthetic": f"the same and {added}"}
    print_rows([(line, _shown(result["accuracy"][name], "")) for name, line in lines.items()])
    print(f"the last minus the one above: {_shown(result['gain'], '+')}: {result['verdict']}")
    for note in result["notes"]:
        print(f"note: {note}")


def _shown(one: Mapping[str, Any], sign: str) -> str:
    return f"{one['mean']:{sign}.3f} ({one['low']:{sign}.3f} to {one['high']:{sign}.3f})"
