"""What a page says in words and figures: what was trained on what, the scores, and how the runs' configs differ."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from gandist.config.yaml import write_yaml
from gandist.tracking.report.curves import EVALUATION
from gandist.tracking.report.reading import Account, at
from gandist.training.checkpoint import CONFIG

ABSENT = "–"


@dataclass(frozen=True)
class Score:
    """A score of one run as it is shown. real: what real data get, "" where nothing says."""

    value: str
    error: str
    real: str


def facts(run: Account) -> dict[str, str]:
    """What was trained on what, how far, and with what, each in a line."""
    config, about = run.config, run.manifest
    data, architecture, loss = (at(config, key) for key in ("dataset", "architecture", "loss"))
    regularizers = (at(config, "loss.regularizers") or []) if isinstance(loss, Mapping) else []
    augmentations = config.get("augmentations") or []
    optimizers = at(config, "optimizer")
    rows = {
        "state": state(run),
        "data": component(data, "name", "loaders", "root"),
        "its samples": _samples(at(about, "facts")),
        "architecture": component(architecture),
        "loss": component(loss, "regularizers"),
        "regularizers": "; ".join(component(one) for one in _sequence(regularizers)),
        "augmentations": "; ".join(component(one) for one in _sequence(augmentations)),
        **{f"optimizer, {role}": component(one) for role, one in (_mapping(optimizers)).items()},
        "batch": _batch(config),
        "workers": shown(at(config, "cluster.workers")),
        "seed": shown(at(config, "run.seed")),
        "speed": _speed(run),
        "versions": ", ".join(f"{name} {version}" for name, version in _mapping(about.get("versions")).items()),
        "evaluation": _protocol(run),
        "the same again": command(run),
    }
    return {name: text for name, text in rows.items() if text}


def command(run: Account) -> str:
    """What trains the same run once more, beside this one."""
    again = f"{at(run.config, 'run.name') or run.folder.name}-again"
    return f"gandist train {shlex.quote(str(run.folder / CONFIG))} {shlex.quote(f'run.name={again}')}"


def state(run: Account) -> str:
    """Finished, failed or unfinished, and how far it came."""
    goal = at(run.config, "train.images")
    whole = f" of {goal:,}" if isinstance(goal, int) and not run.result else ""
    reached = f"{run.images:,}{whole} images in {run.steps:,} steps"
    if run.result:
        return f"finished: {reached}"
    if run.events and any(event.final and event.step >= run.steps for event in run.events):
        return f"failed: {reached}"
    return f"unfinished: {reached}" if run.steps else "nothing was logged yet"


def component(value: Any, *left_out: str) -> str:
    """ "dcgan, width 32, latent 64" of a section that names a component; what is null or empty is left out."""
    if not isinstance(value, Mapping):
        return shown(value) if value else ""
    fields = [
        f"{key} {shown(one)}"
        for key, one in value.items()
        if key != "name" and key not in left_out and one not in (None, [], {}, "")
    ]
    return ", ".join([*([shown(value["name"])] if "name" in value else []), *fields])


def shown(value: Any) -> str:
    """A value as YAML on one line, cut where it is long."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else write_yaml(value, flow=True)
    return text if len(text) <= 200 else f"{text[:197]}…"


def scores(run: Account) -> dict[str, Score]:
    """The last evaluation's scores by name; shares of single classes are left to their chart."""
    last: dict[str, float] = {}
    for row in run.rows:
        values = {key.removeprefix(EVALUATION): value for key, value in row.items() if key.startswith(EVALUATION)}
        last |= {name: value for name, value in values.items() if value is not None}
    if not last:
        last = {name: value for name, value in _mapping(run.result.get("metrics")).items() if _is_number(value)}
    return {
        name: Score(
            figure(value),
            figure(last[f"{name}_error"]) if f"{name}_error" in last else "",
            figure(last[f"{name}_real"]) if f"{name}_real" in last else "",
        )
        for name, value in last.items()
        if "/" not in name and not _beside(name, last)
    }


def _beside(name: str, known: Mapping[str, float]) -> bool:
    """Whether a score only stands beside another one."""
    return any(name.endswith(end) and name.removesuffix(end) in known for end in ("_real", "_error", "_real_error"))


def figure(value: float) -> str:
    """A number with four digits that tell something."""
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}"
    return f"{value:.4g}" if abs(value) < 1e5 else f"{value:.3e}"


def differences(runs: Sequence[Account]) -> list[tuple[str, list[str]]]:
    """The keys in which the runs' configs differ, with each run's value."""
    flat = [dict(_flat(run.config, "")) for run in runs]
    keys = dict.fromkeys(key for one in flat for key in one)
    rows = [(key, [shown(one[key]) or "null" if key in one else ABSENT for one in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1 and key != "run.name"]


def _flat(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        return [row for key, one in value.items() for row in _flat(one, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        return [row for index, one in enumerate(value) for row in _flat(one, f"{path}.{index}")]
    return [(path, value)]


def _samples(about: Any) -> str:
    """Of the data set's facts, as a checkpoint's manifest has them."""
    if not isinstance(about, Mapping):
        return ""
    parts = []
    if isinstance(size := about.get("size"), int):
        parts.append(f"{size:,} samples")
    if isinstance(shape := about.get("shape"), list):
        parts.append("of " + " × ".join(map(str, shape)))
    if classes := about.get("classes"):
        parts.append(f"in {classes} classes")
    if fingerprint := about.get("fingerprint"):
        parts.append(f"(fingerprint {str(fingerprint)[:12]})")
    return " ".join(parts)


def _batch(config: Mapping[str, Any]) -> str:
    size, micro = at(config, "train.batch_size"), at(config, "train.micro_batch")
    parts = [f"{shown(size)} images" if size else "", f"micro-batches of {shown(micro)}" if micro else ""]
    half_life = at(config, "train.ema.half_life")
    parts += [
        shown(at(config, "train.precision")),
        f"half-life of the smoothing {shown(half_life)}" if half_life else "",
    ]
    return ", ".join(part for part in parts if part)


def _speed(run: Account) -> str:
    seconds, rate = run.result.get("seconds"), run.result.get("images_per_second")
    if _is_number(seconds) and _is_number(rate):
        return f"{rate:,.0f} images a second; {_time(seconds)} in all"
    rates = [row["images_per_second"] for row in run.rows if row.get("images_per_second") is not None]
    return f"{rates[-1]:,.0f} images a second" if rates else ""


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _protocol(run: Account) -> str:
    """How scores were made: by what the result says, else by the config."""
    if protocol := _mapping(run.result.get("protocol")):
        return ", ".join(f"{key} {shown(value)}" for key, value in protocol.items())
    section = _mapping(run.config.get("evaluate"))
    if section.get("every") == 0 or not section:
        return ""
    return component(section)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
