"""The tables of docs/results.md, from figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from figures import Figures, Job

Figure = Mapping[str, Any]
Column = Callable[[Figure], str]


def _score(name: str, spelt: str = "{:.0f}") -> Column:
    return lambda figure: spelt.format(figure["scores"][name])


def _percent(name: str) -> Column:
    return lambda figure: f"{100 * figure['scores'][name]:.1f}"


_COST: dict[str, Column] = {
    "images": lambda figure: f"{figure['images'] / 1e6:.2f} M",
    "CPU-seconds": lambda figure: f"{figure['cpu_seconds']:.0f}",
}
_POINTS: dict[str, Column] = {
    "modes": _score("modes_hit"),
    "good, %": _percent("good"),
    "reverse KL": _score("reverse_kl", "{:.3f}"),
    **_COST,
}
_CLASSES: dict[str, Column] = {
    "Fréchet": _score("frechet", "{:.1f}"),
    "of real": _score("frechet_real", "{:.1f}"),
    "confident, %": _percent("confident"),
    **_COST,
}
COLUMNS: dict[str, dict[str, Column]] = {
    "ring8": _POINTS,
    "grid25": _POINTS,
    "fashion": _CLASSES,
    "winner": _CLASSES,
    "stacked": {
        "modes": _score("modes_hit"),
        "KL": _score("kl", "{:.2f}"),
        "sure in all planes, %": _percent("sure"),
        "of real, %": _percent("sure_real"),
        **_COST,
    },
    "conditional": {
        "as asked, %": _percent("as_asked"),
        "worst label, %": _percent("as_asked_least"),
        "of real, %": _percent("as_asked_real"),
        **_COST,
    },
}
"""Table → heading → what stands there of each seed."""


def table(jobs: Iterable[Job], figures: Figures, columns: Mapping[str, Column]) -> str:
    """One row an entry; the seeds' values stand beside each other in the order of the seeds."""
    rows: dict[str, list[tuple[Job, Figure | None]]] = {}
    for job in jobs:
        rows.setdefault(job.entry, []).append((job, figures.get(job)))
    lines = [f"| | seeds | {' | '.join(columns)} |", f"|{' --- |' * (len(columns) + 2)}"]
    for entry, made in rows.items():
        there = [figure for _, figure in made if figure is not None]
        missing = [str(job.seed) for job, figure in made if figure is None]
        seeds = ", ".join(str(figure["seed"]) for figure in there) or "none"
        left = f" (not run: {', '.join(missing)})" if missing else ""
        cells = [", ".join(column(figure) for figure in there) or "—" for column in columns.values()]
        lines.append(f"| `{entry}` | {seeds}{left} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_made_on(figure for pairs in rows.values() for _, figure in pairs if figure)])


def _made_on(figures: Iterable[Figure]) -> list[str]:
    """One line a machine and version that figures were made with."""
    places = sorted({(f["machine"], f["versions"]["torch"], f["versions"]["gandist"]) for f in figures})
    return [f"Measured on {machine}; torch {torch}, gandist {own}." for machine, torch, own in places]


def written(text: str, jobs: list[Job], figures: Figures) -> str:
    """The page with its tables as the figures have them."""
    for name, columns in COLUMNS.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        made = table([job for job in jobs if job.table == name], figures, columns)
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        text = pattern.sub(lambda _, begin=begin, made=made, end=end: f"{begin}\n{made}\n{end}", text)
    return text


def write_page(page: Path, jobs: list[Job], figures: Figures) -> None:
    """Writes the tables between their marks in the page."""
    text = page.read_text(encoding="utf-8")
    if (new := written(text, jobs, figures)) != text:
        page.write_text(new, encoding="utf-8")
