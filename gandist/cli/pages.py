"""The verb that shows runs: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gandist.cli.app import JsonOption, verb
from gandist.cli.output import print_result


@verb
def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Run folders; several stand beside each other.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page; report.html in the first run's folder by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a page about runs: one HTML file that needs no network.

    It holds what was trained on what, the samples with a slider over time, the curves of all logged values over the
    images seen with failures and health events in them, the scores beside those of real data, and where the runs'
    configs differ. It reads the run folders alone, also those of runs that go on, have failed or are damaged.
    """
    from gandist.tracking.report.page import write_report

    result = write_report(runs, out)
    notes = result.pop("notes")
    told = {**result, "notes": notes} if as_json else {**result, "runs": ", ".join(result["runs"])}
    print_result(told, as_json)
    if not as_json:
        for note in notes:
            typer.echo(f"note: {note}", err=True)
