"""The verb `sweep`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gandist.cli.app import JsonOption, verb
from gandist.cli.output import print_json, print_rows, print_table
from gandist.cli.run import AddressOption

SweepArgument = Annotated[str, typer.Argument(metavar="SWEEP", help="YAML file that names a config and what varies.")]
TrialOverrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Overrides of every trial's config, VALUE is YAML.")
]


@verb
def sweep(
    file: SweepArgument,
    overrides: TrialOverrides = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the sweep and of its folder.")] = None,
    address: AddressOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Move an existing sweep aside and start anew.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Train a config many times with other values, stop the worse ones early.

    A sweep file names a config, what varies, and what trials are judged by:

    \b
      config: digits.yaml            # relative to this file
      trials: 16                     # the whole grid, if nothing is drawn
      metric: frechet                # a score of the evaluations
      mode: min
      search:
        optimizer.generator.lr: {loguniform: [1e-4, 1e-2]}
        loss.regularizers.0.weight: [0.1, 1.0, 10.0]      # a grid
        architecture.width: {choice: [16, 32]}            # or {uniform: …}, {int: …}
      scheduler: asha                # or none

    Each trial is a run in STORAGE/SWEEP/trial-NNNNN. Beside them lie results.json, results.csv and best.yaml, which
    `gandist train` takes. The same command goes on with a sweep that was stopped or killed.
    """
    from gandist.launch.sweep import sweep as start

    outcome = start(file, overrides or [], name=name, address=address, fresh=fresh)
    if outcome.message:
        print(outcome.message, file=sys.stderr)
    if as_json:
        found = {"sweep": str(outcome.folder), "code": outcome.code, "best_config": outcome.best or None}
        print_json({**found, **outcome.ledger.as_dict()})
    else:
        print_table(*outcome.ledger.table())
        if outcome.best:
            print_rows([("best config", outcome.best)])
    return outcome.code
