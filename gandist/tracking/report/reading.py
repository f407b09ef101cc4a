"""What a run folder tells, read from its files alone: no plugin, no data set and no weights are loaded.

A folder may be unfinished, damaged or a stranger's: what cannot be read is left out and noted, nothing is followed out
of the folder, and no file is read beyond what a run could have written.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gandist.config.yaml import read_yaml
from gandist.errors import ConfigError, did_you_mean
from gandist.tracking.metrics_file import FILE_NAME as METRICS
from gandist.training.checkpoint import CONFIG, MANIFEST, checkpoints, manifest, step_of
from gandist.training.foreign import read_json

RESULT, FAILURES, HEALTH, SAMPLES, DRAWN = "result.json", "failures.jsonl", "health.jsonl", "samples", "pictures"
MOST_BYTES = 100_000_000
"""Of a file of JSON lines, that many are read."""
_PICTURE = re.compile(r"step-(\d{1,15})\.png")
_DRAWING = re.compile(r"([\w.-]{1,60})-step-(\d{1,15})\.png")
Row = dict[str, float | None]


@dataclass(frozen=True)
class Event:
    """Something that happened in a run. subject: the rank that failed, or the check that watched. final: whether the
    command gave up after it."""

    kind: Literal["failure", "raised", "over"]
    step: int
    images: int
    subject: str
    text: str
    final: bool = False


@dataclass(frozen=True)
class Account:
    """All that a run folder tells.

    rows: of metrics.jsonl in the order of their images, numbers only; None stands for what was not finite. pictures:
    (step, images, file), in order. drawings: what its examinations drew last, name → (step, images, file). result,
    manifest: {} where there is none. notes: what could not be read.
    """

    folder: Path
    name: str
    config: Mapping[str, Any]
    rows: tuple[Row, ...]
    pictures: tuple[tuple[int, int, Path], ...]
    drawings: Mapping[str, tuple[int, int, Path]]
    events: tuple[Event, ...]
    result: Mapping[str, Any]
    manifest: Mapping[str, Any]
    images_per_step: float
    notes: tuple[str, ...]

    @property
    def images(self) -> int:
        """Images seen, as far as the folder tells."""
        last = self.rows[-1]["images"] if self.rows else None
        known = (last, self.result.get("images"), self.manifest.get("images"))
        return int(max((_number(one) or 0 for one in known), default=0))

    @property
    def steps(self) -> int:
        """Steps done, as far as the folder tells."""
        last = self.rows[-1]["step"] if self.rows else None
        known = (last, self.result.get("steps"), self.manifest.get("step"))
        return int(max((_number(one) or 0 for one in known), default=0))


def read_run(run: str | Path) -> Account:
    """Reads a run folder, or that of a checkpoint. Raises ConfigError if `run` is none, or its config is damaged."""
    folder = Path(run)
    if not folder.is_dir():
        raise ConfigError(f"{run}: no such run folder{did_you_mean(folder.name, _runs(folder.parent))}")
    if (folder / MANIFEST).is_file() and step_of(folder) is not None:
        folder = folder.resolve().parent.parent
    if not (folder / CONFIG).is_file():
        known = _runs(folder)
        inside = f"; runs in it: {', '.join(known[:10])}{', …' if len(known) > 10 else ''}" if known else ""
        raise ConfigError(f"{run}: not a run folder, it has no {CONFIG}{inside}")
    return _Reader(folder).account()


class _Reader:
    """Reads one folder and notes what it cannot read."""

    def __init__(self, folder: Path):
        self._folder, self._notes = folder, list[str]()
        self._home = folder.resolve()

    def account(self) -> Account:
        config = read_yaml(self._folder / CONFIG).mapping
        about = self._manifest()
        rows = self._rows()
        ratio = _images_per_step(config, rows, about)
        return Account(
            folder=self._folder,
            name=_name(config, self._home),
            config=config,
            rows=rows,
            pictures=self._pictures(ratio),
            drawings=self._drawings(ratio),
            events=tuple(sorted(self._events(ratio), key=lambda event: event.images)),
            result=self._result(),
            manifest=about,
            images_per_step=ratio,
            notes=tuple(self._notes),
        )

    def _inside(self, path: Path) -> bool:
        """Whether a file is there and lies in the folder: a stranger's link could lead to anything of the reader's."""
        if not path.is_file():
            return False
        if not path.resolve().is_relative_to(self._home):
            self._notes.append(f"{path.relative_to(self._folder)} is a link that leads out of the run folder")
            return False
        return True

    def _result(self) -> Mapping[str, Any]:
        path = self._folder / RESULT
        try:
            return read_json(path) if self._inside(path) else {}
        except (OSError, ValueError) as error:
            self._notes.append(f"{RESULT} cannot be read: {error}")
            return {}

    def _manifest(self) -> Mapping[str, Any]:
        """The newest manifest that can be read; the weights beside it are not looked at."""
        for path in checkpoints(self._folder / "checkpoints"):
            try:
                if self._inside(path / MANIFEST):
                    return manifest(path)
                self._notes.append(f"{path.name} has no {MANIFEST}")
            except (OSError, ValueError) as error:
                self._notes.append(f"{MANIFEST} of {path.name} cannot be read: {error}")
        return {}

    def _lines(self, name: str) -> list[dict[str, Any]]:
        """The mappings of a file of JSON lines; other lines are counted."""
        path = self._folder / name
        if not self._inside(path):
            return []
        found, damaged = [], 0
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            self._notes.append(f"{name} is larger than {MOST_BYTES:,} bytes; the rest was left out")
        for line in content.splitlines():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, dict):
                found.append(value)
            else:
                damaged += 1
        if damaged:
            self._notes.append(f"{name}: {damaged} {'line' if damaged == 1 else 'lines'} could not be read")
        return found

    def _rows(self) -> tuple[Row, ...]:
        kept: dict[float, Row] = {}
        for row in self._lines(METRICS):
            step = _number(row.get("step"))
            images = _number(row.get("images"))
            if step is not None and images is not None:
                numbers = {
                    key: number for key, value in row.items() if (number := _number(value)) is not None or value is None
                }
                # Scores of an evaluation beside the training have a row of their own.
                kept[images] = {**kept.get(images, {}), **numbers, "step": step, "images": images}
        return tuple(kept[images] for images in sorted(kept))

    def _pictures(self, ratio: float) -> tuple[tuple[int, int, Path], ...]:
        folder = self._folder / SAMPLES
        if not folder.is_dir():
            return ()
        steps = [(int(match[1]), path) for path in folder.iterdir() if (match := _PICTURE.fullmatch(path.name))]
        return tuple((step, round(step * ratio), path) for step, path in sorted(steps) if self._inside(path))

    def _drawings(self, ratio: float) -> dict[str, tuple[int, int, Path]]:
        folder = self._folder / DRAWN
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        found = [match for name in names if (match := _DRAWING.fullmatch(name))]
        newest: dict[str, tuple[int, int, Path]] = {}
        for match in sorted(found, key=lambda one: (one[1], int(one[2]))):
            step, path = int(match[2]), folder / match[0]
            if self._inside(path):
                newest[match[1]] = (step, round(step * ratio), path)
        return newest

    def _events(self, ratio: float) -> list[Event]:
        events = []
        for row in self._lines(FAILURES):
            step = int(_number(row.get("step")) or 0)
            final = bool(row.get("final"))
            text = f"{row.get('text', '')}{'' if final else '; it was tried once more'}"
            events.append(Event("failure", step, round(step * ratio), f"rank {row.get('rank', '?')}", text, final))
        for row in self._lines(HEALTH):
            step, images = _number(row.get("step")) or 0, _number(row.get("images"))
            seen = step * ratio if images is None else images
            kind = "over" if row.get("state") == "over" else "raised"
            events.append(
                Event(kind, int(step), round(seen), str(row.get("check", "health")), str(row.get("text", "")))
            )
        return events


def _number(value: Any) -> float | None:
    """A finite number, or None for anything else that JSON can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _images_per_step(config: Mapping[str, Any], rows: tuple[Row, ...], about: Mapping[str, Any]) -> float:
    """From what was logged; only the loss itself knows it otherwise."""
    pairs: list[tuple[Any, Any]] = [(row["images"], row["step"]) for row in rows[-1:]]
    pairs.append((about.get("images"), about.get("step")))
    for images, step in pairs:
        if (seen := _number(images)) and (done := _number(step)):
            return seen / done
    return _number(at(config, "train.batch_size")) or 1.0


def at(mapping: Mapping[str, Any], path: str) -> Any:
    """What stands under a dotted path, None where there is nothing."""
    value: Any = mapping
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _name(config: Mapping[str, Any], home: Path) -> str:
    return str(at(config, "run.name") or home.name)


def _runs(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / CONFIG).is_file())
