"""Verbs that show runs: report, dashboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from gandist.cli.app import JsonOption, verb
from gandist.cli.output import print_json, print_result
from gandist.errors import ConfigError


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


@verb
def dashboard(
    project: Annotated[str, typer.Option(metavar="P", help="W&B project that gets the workspace.")],
    entity: Annotated[
        str | None, typer.Option(metavar="E", help="User or team that has the project; the account's default.")
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What the workspace is called.")] = "gandist",
    workers: Annotated[int, typer.Option(min=1, max=1024, help="Ranks that get a section of their own.")] = 1,
    check: Annotated[bool, typer.Option("--check", help="Only say what would change on the server.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Write the workspace here and ask no server.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make the Weights & Biases workspace of a project: a panel for whatever runs log.

    Sections for samples, metrics, losses, each player's gradients, health, throughput and each rank, all over the
    images seen. The same command again makes the workspace what the code says; views of other names stay as they are.
    """
    from gandist.tracking import dashboard as made

    if check and out is not None:
        raise ConfigError("--check asks the server and --out does not; give one of them")
    if out is not None:
        print_result(_written(made.spec(made.workspace(project, entity or "", name, workers)), out), as_json)
        return
    if not check:
        result = made.save(project, entity, name, workers)
        lines = result["changed"]
        print_result(result if as_json else {**result, "changed": len(lines)}, as_json)
        return
    result = made.check(project, entity, name, workers)
    if as_json:
        print_json(result)
        return
    for line in result["changes"] or ["nothing would change"]:
        print(line)


def _written(spec: dict[str, Any], out: Path) -> dict[str, Any]:
    from gandist.training.checkpoint import write_file

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_file(out, (json.dumps(spec, indent=1) + "\n").encode())
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written: {error.strerror or error}") from None
    sections = spec["section"]["panelBankConfig"]["sections"]
    panels = sum(len(section["panels"]) for section in sections)
    return {"workspace": str(out), "sections": len(sections), "panels": panels}
