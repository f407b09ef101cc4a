"""Verbs that start something: train, doctor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gandist.cli.app import ConfigArgument, JsonOption, OverridesArgument, verb
from gandist.cli.output import print_json, print_rows, print_table
from gandist.errors import ConfigError

if TYPE_CHECKING:
    from gandist.training.profile import ProfiledSteps

AddressOption = Annotated[str | None, typer.Option(metavar="A", help="Address of a Ray cluster to join.")]


@verb
def train(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    workers: Annotated[
        str | None, typer.Option(metavar="N|MIN..MAX", help="Short for cluster.workers=…; 0 trains in this process.")
    ] = None,
    address: AddressOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Move an existing run aside and start anew.")] = False,
    profile: Annotated[
        str | None,
        typer.Option(metavar="STEPS", help="Trace steps A:B, or N steps after a warm-up, into the run's profile/."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Train a config; the same command again goes on with the run."""
    steps = _profiled(profile) if profile is not None else None
    from gandist.config.compose import compose
    from gandist.launch.run import run

    given = [*(overrides or []), *([f"cluster.workers={workers}"] if workers is not None else [])]
    outcome = run(compose(config, given), address=address, fresh=fresh, profile=steps)
    if outcome.message:
        print(outcome.message, file=sys.stderr)
    if as_json:
        print_json({"run": str(outcome.folder), "code": outcome.code, **outcome.result})
    elif outcome.result:
        print_rows(_told(outcome.folder, outcome.result))
    return outcome.code


def _profiled(text: str) -> ProfiledSteps:
    from gandist.training.profile import ProfiledSteps

    first, colon, last = text.partition(":")
    if not (first.isdecimal() and (last.isdecimal() or not colon)) or int(last or first) <= int(first if colon else 0):
        raise ConfigError(
            f"--profile {text}: should be A:B, the steps from A up to but not B, or N, a number of steps; e.g. 20:30"
        )
    return ProfiledSteps(int(first), int(last) - int(first)) if colon else ProfiledSteps(None, int(first))


def _told(folder: Path | str, result: dict[str, Any]) -> list[tuple[str, str]]:
    """What a person wants to know at the end of a run: how long, how good, and where to look."""
    from gandist.evaluation.summary import lines

    pictures = sorted((folder / "samples").glob("step-*.png")) if isinstance(folder, Path) else []
    shown = [("last grid", str(pictures[-1]))] if pictures else [("run", str(folder))]
    traces = sorted((folder / "profile").glob("rank-*.json.gz")) if isinstance(folder, Path) else []
    shown += [("trace", f"{traces[0]} (open it at https://ui.perfetto.dev)")] if traces else []
    told = [("training", f"{result['seconds'] / 60:.1f} minutes"), *lines(result["metrics"])]
    if best := result.get("best"):
        place = f"{folder}/checkpoints/step-{best['step']:08d}"
        told.append(("best", f"{best['score']} {best['value']:.4g} at step {best['step']}: {place}"))
    return [*told, *shown]


@verb
def doctor(
    address: AddressOption = None,
    storage: Annotated[
        str, typer.Option(metavar="PLACE", help="Folder or URL that a run would get as cluster.storage.")
    ] = "runs",
    interface: Annotated[
        str | None, typer.Option(metavar="NAME", help="Network interface that a run would get as cluster.interface.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """What this machine, or the cluster, offers and lacks. Exits with 1 if something is missing.

    With --address also, on every node of the cluster: versions that differ from those here, the clock, a write to the
    storage, and an all-reduce of 10 seconds between the nodes.
    """
    from gandist.launch.cluster_doctor import examine_cluster
    from gandist.launch.doctor import examine_machine

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    findings = examine_machine(storage)
    if address is not None:
        findings += examine_cluster(address, storage, interface, tell)
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        rows = [("ok" if f.ok else "missing", f.name, f.detail, "" if f.ok else f.fix or "") for f in findings]
        print_table(("", "what", "found", "how to get it"), rows)
    return 0 if all(finding.ok for finding in findings) else 1
