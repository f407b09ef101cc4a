"""Which logged values stand in which chart, as lines over the images seen, short enough for a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gandist.tracking.report.reading import Account, Row

MOST_POINTS = 800
"""Of a line; a longer one is cut into runs of points of which the lowest and the highest are kept."""
MOST_LINES = 24
"""In a chart: of a thousand classes or ranks nobody could tell the lines apart."""
MOST_CHARTS = 120
SECTIONS = {
    "metrics": "Metrics",
    "losses": "Losses",
    "outputs": "What the discriminator answers",
    "gradients": "Gradients and learning rates",
    "health": "Health",
    "throughput": "Throughput",
    "other": "Other values",
}
"""Sections of the page in their order, with their headings."""
EVALUATION = "evaluation/"


@dataclass(frozen=True)
class Line:
    """One value of one run. colour and dash are indices; `error` is half the length of the bars, if there are any."""

    label: str
    x: list[int]
    y: list[float | None]
    colour: int
    dash: int
    error: list[float | None] | None = None


@dataclass(frozen=True)
class Chart:
    """Lines with a common y axis. key: what docs/metrics.md calls the values. note: what was left out."""

    section: str
    title: str
    key: str
    log: bool
    lines: list[Line]
    note: str = ""


@dataclass(frozen=True)
class Place:
    """Where a key belongs: section, chart, and its line there."""

    section: str
    title: str
    key: str
    line: str


def place(key: str, known: Iterable[str]) -> Place | None:
    """The place of a logged key, None for one that is no curve. known: all keys of the run."""
    group, _, rest = key.partition("/")
    first, _, last = rest.rpartition("/")
    if key in ("step", "images") or (key.endswith("_error") and key.removesuffix("_error") in known):
        return None
    if group == "loss" and first:
        if last == "total":
            return Place("losses", "Total losses", "loss/…/total", first)
        return Place("losses", f"Terms of the {first}'s loss", f"loss/{first}/…", last)
    if group == "evaluation" and rest:
        base = rest.removesuffix("_real")
        if base != rest and f"{EVALUATION}{base}" in known:
            return Place("metrics", base.replace("_", " "), f"{EVALUATION}{base}", "real data")
        if first:
            return Place("metrics", first.replace("_", " "), f"{EVALUATION}{first}/…", last)
        return Place("metrics", rest.replace("_", " "), key, "samples")
    section, title = {
        "probability": ("outputs", "Probability of being real"),
        "logits": ("outputs", "Logits"),
        "accuracy": ("outputs", "Accuracy"),
        "gradient_norm": ("gradients", "Gradient norms"),
        "lr": ("gradients", "Learning rates"),
        "health": ("health", f"{first or rest}".replace("_", " ")),
        "images_per_second": ("throughput", "Images per second"),
        "seconds": ("throughput", "Seconds of a step"),
        "memory": ("throughput", "GPU memory, GiB"),
        "heartbeat": ("throughput", "Seconds since a rank's last sign of life"),
    }.get(group, ("other", f"{group}/{first}" if first else group))
    if section == "health":
        return Place(section, title, f"health/{first}/…" if first else key, last if first else "samples")
    if section == "other" and first:
        return Place(section, title, f"{title}/…", last)
    return Place(section, title, f"{group}/…" if rest else key, rest or "all workers")


def charts(runs: Sequence[Account]) -> list[Chart]:
    """The charts of all that these runs logged, in the order of the sections."""
    several = len(runs) > 1
    found: dict[tuple[str, str], list[Line]] = {}
    keys: dict[tuple[str, str], str] = {}
    colours: dict[str, int] = {}
    for number, run in enumerate(runs):
        logged = list(dict.fromkeys(key for row in run.rows for key in row))
        for key in logged:
            if (there := place(key, logged)) is None:
                continue
            lines = found.setdefault((there.section, there.title), [])
            keys.setdefault((there.section, there.title), there.key)
            colour = colours.setdefault(there.line, len(colours))
            if several:
                label = f"{run.name} · {there.line}" if there.line != "samples" else run.name
                dashes = list(dict.fromkeys(line.label.rpartition(" · ")[2] for line in lines))
                kind = label.rpartition(" · ")[2]
                dash = 0 if there.line == "samples" else (dashes.index(kind) if kind in dashes else len(dashes))
                lines.append(_line(run.rows, key, label, number, dash))
            else:
                lines.append(_line(run.rows, key, there.line, colour, int(there.line == "real data")))
    order = list(SECTIONS)
    made = [_chart(section, title, keys[section, title], lines) for (section, title), lines in found.items()]
    # The totals come before their terms, whichever was logged first.
    made.sort(key=lambda chart: (order.index(chart.section), not chart.key.endswith("/total")))
    return made[:MOST_CHARTS]


def _chart(section: str, title: str, key: str, lines: list[Line]) -> Chart:
    shown = lines[:MOST_LINES]
    note = f"the first {len(shown)} of {len(lines)} lines" if len(lines) > len(shown) else ""
    values = [value for line in shown for value in line.y if value is not None]
    log = key.startswith("gradient_norm/") and bool(values) and min(values) > 0 and max(values) > 20 * min(values)
    return Chart(section, title, key, log, shown, note)


def _line(rows: Sequence[Row], key: str, label: str, colour: int, dash: int) -> Line:
    there = [row for row in rows if key in row]
    values = [row[key] for row in there]
    kept = thinned(values)
    error = f"{key}_error"
    bars = [_short(there[index].get(error)) for index in kept] if any(error in row for row in there) else None
    images = [int(there[index]["images"] or 0) for index in kept]
    return Line(label, images, [_short(values[index]) for index in kept], colour, dash, bars)


def thinned(values: Sequence[float | None], most: int = MOST_POINTS) -> list[int]:
    """Indices of at most `most` values: all, or of each run of neighbours the lowest, the highest and a gap."""
    if len(values) <= most:
        return list(range(len(values)))
    buckets = (most - 2) // 3
    kept = {0, len(values) - 1}
    for number in range(buckets):
        span = range(number * len(values) // buckets, (number + 1) * len(values) // buckets)
        real = [(value, index) for index in span if (value := values[index]) is not None]
        kept |= {min(real)[1], max(real)[1]} if real else set()
        gaps = [index for index in span if values[index] is None]
        kept |= set(gaps[:1])
    return sorted(kept)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
