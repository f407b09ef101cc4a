"""The page: one HTML file with its style, its script, the chart library and all data in it. It loads nothing."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from gandist.config.yaml import write_yaml
from gandist.errors import ConfigError
from gandist.tracking.report import tables
from gandist.tracking.report.curves import SECTIONS, charts
from gandist.tracking.report.pictures import albums, drawings
from gandist.tracking.report.reading import Account, read_run
from gandist.training.checkpoint import write_file

FILE_NAME = "report.html"
MOST_BYTES = 5_000_000
"""Of a page."""
_FIXED = 400_000
"""Of them, at least these are kept for everything but curves and pictures: tables, script, chart library."""
_SMALLEST_ROOM = 300_000
MOST_RUNS = 12
"""Beside each other; more lines and columns nobody could tell apart."""
LIBRARY = "uplot-python"


def write_report(runs: Sequence[str | Path], out: Path | None = None) -> dict[str, Any]:
    """Writes a page about these runs, by default into the folder of the first.

    What was written: its path as `report`, `bytes`, and `runs`, `charts`, `pictures` (of samples), `drawings` (of
    examinations), `events`, and what could not be read as `notes`. Raises ConfigError for what is no run folder, a
    place that cannot be written, and without the chart library.
    """
    if len(runs) > MOST_RUNS:
        raise ConfigError(f"{len(runs)} runs are too many for one page; give at most {MOST_RUNS}")
    accounts = _told_apart([read_run(run) for run in runs])
    library, style = chart_library()
    place = out or accounts[0].folder / FILE_NAME
    if place.is_dir():
        raise ConfigError(f"--out {place}: is a folder; give a file, e.g. {place / FILE_NAME}")
    text, told = render(accounts, library, style)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_file(place, text.encode())
    except OSError as error:
        raise ConfigError(f"--out {place}: cannot be written: {error.strerror or error}") from None
    return {"report": str(place), "bytes": len(text.encode()), "runs": [run.name for run in accounts], **told}


def _told_apart(runs: list[Account]) -> list[Account]:
    """Runs of one name are called by their folders."""
    names = [run.name for run in runs]
    return [replace(run, name=str(run.folder)) if names.count(run.name) > 1 else run for run in runs]


def chart_library() -> tuple[str, str]:
    """Script and style of uPlot, out of its package. Raises ConfigError naming the command that installs it."""
    try:
        package = importlib.metadata.distribution(LIBRARY)
        script, style = (
            Path(str(package.locate_file(f"uplot/static/{name}"))).read_text(encoding="utf-8")
            for name in ("uPlot.iife.js", "uPlot.min.css")
        )
    except (importlib.metadata.PackageNotFoundError, OSError):
        raise ConfigError(
            f"a report needs the chart library of {LIBRARY}, which is not installed: pip install 'gandist[report]'"
        ) from None
    return script, style


def render(runs: Sequence[Account], library: str, style: str) -> tuple[str, dict[str, Any]]:
    """The page's text, and figures about it."""
    from jinja2 import Environment, StrictUndefined

    drawn = charts(runs)
    curves = [asdict(chart) for chart in drawn]
    examined = drawings(runs)
    taken = sum(len(frame.source) for frames, _ in examined for frame in frames.values())
    room = MOST_BYTES - _FIXED - len(library) - len(str(curves)) - taken
    kept = albums(runs, max(_SMALLEST_ROOM, room))
    notes = [
        f"{run.name}: {note}"
        for run, album, (_, damaged) in zip(runs, kept, examined, strict=True)
        for note in (*run.notes, *album.damaged, *damaged)
    ]
    events = [{**asdict(event), "run": number} for number, run in enumerate(runs) for event in run.events]
    events.sort(key=lambda event: event["images"])
    data = {
        "runs": [run.name for run in runs],
        "end": max((run.images for run in runs), default=0),
        "charts": curves,
        "events": events,
        "albums": [[asdict(frame) for frame in album.frames] for album in kept],
    }
    script = _part("page.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = lambda value: f"{value:,}"
    template = environment.from_string(_part("page.html"))
    facts = [tables.facts(run) for run in runs]
    scores = [tables.scores(run) for run in runs]
    text = template.render(
        title=", ".join(run.name for run in runs),
        runs=runs,
        several=len(runs) > 1,
        pictures=any(album.frames for album in kept),
        drawings=[
            (number, name, frame) for number, (frames, _) in enumerate(examined) for name, frame in frames.items()
        ],
        facts=facts,
        fact_names=list(dict.fromkeys(name for one in facts for name in one)),
        scores=scores,
        score_names=list(dict.fromkeys(name for one in scores for name in one)),
        real=any(score.real for one in scores for score in one.values()),
        differences=tables.differences(runs) if len(runs) > 1 else [],
        configs=[write_yaml(run.config) for run in runs],
        sections=[(key, heading) for key, heading in SECTIONS.items() if any(one.section == key for one in drawn)],
        charts=drawn,
        events=events,
        albums=kept,
        notes=notes,
        data=data,
        version=importlib.metadata.version("gandist"),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        style=style + _part("page.css"),
        library=library,
        script=script,
        allowed=" ".join(_allowed(one) for one in (library, script)),
    )
    told = {
        "charts": len(drawn), "pictures": sum(len(album.frames) for album in kept),
        "drawings": sum(len(frames) for frames, _ in examined), "events": len(events),
        "notes": notes,
    }  # fmt: skip
    return text, told


def _part(name: str) -> str:
    return files("gandist.tracking.report").joinpath(name).read_text(encoding="utf-8")


def _allowed(script: str) -> str:
    """A script by its hash, as a page's security policy names it: nothing that a run's texts hold could ever run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
