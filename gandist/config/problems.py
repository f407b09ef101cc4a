"""pydantic's errors as lines that a user can act on: dotted path, what is wrong, the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from gandist.config.places import UNKNOWN, at, constants, describe, keys_of, kind_of, model_of, shown
from gandist.config.schema import Config
from gandist.contract.component import Component
from gandist.contract.discovery import installed
from gandist.errors import did_you_mean

_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
    "multiple_of": ("a multiple of", "multiple_of"),
}
_LENGTHS = {
    "string_too_short": "at least {min_length} characters long",
    "string_too_long": "at most {max_length} characters long",
    "too_short": "a list with at least {min_length} entries",
    "too_long": "a list with at most {max_length} entries",
}


@dataclass(frozen=True)
class Problem:
    """One thing to put right. path: dotted, as an override would name it."""

    path: str
    text: str


def report(title: str, problems: Sequence[Problem], origin: Mapping[str, str] | None = None) -> str:
    """All problems under one heading, with aligned paths, and where a value stands if not in the file `title`."""
    count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
    width = max(len(problem.path) for problem in problems)
    lines = [f"{title}: {count}"]
    for problem in problems:
        where = _origin(problem.path, origin or {})
        elsewhere = f"  ({where})" if where and not where.startswith(f"{title}:") and where != title else ""
        lines.append(f"  {problem.path:<{width}}   {problem.text}{elsewhere}")
    return "\n".join(lines)


def _origin(path: str, origin: Mapping[str, str]) -> str | None:
    if path in origin:
        return origin[path]
    below = [where for known, where in origin.items() if known.startswith(f"{path}.")]
    return below[0] if below and len(set(below)) == 1 else None


def dotted(path: Iterable[Any]) -> str:
    """A path with dots."""
    return ".".join(str(part) for part in path)


def from_pydantic(error: ValidationError, data: Mapping[str, Any], root: type[BaseModel] = Config) -> list[Problem]:
    """pydantic's errors about `data`, which should be a `root`, one for each place."""
    found: dict[str, Problem] = {}
    for detail in error.errors(include_url=False):
        path = _real_path(detail["loc"], data)
        asked = at(root, data, path)[1]
        if detail["type"] == "component" and isinstance(asked, Mapping) and "name" in asked:
            path = (*path, "name")
        if dotted(path) not in found:
            found[dotted(path)] = Problem(dotted(path), _text(detail, path, data, root))
        elif len(detail["loc"]) > len(path):
            # Several alternatives of one union failed: say what they are together.
            expected, value = at(root, data, path)
            found[dotted(path)] = Problem(dotted(path), f"should be {describe(expected)}, is {shown(value)}")
    return list(found.values())


def unknown_key(path: tuple[Any, ...], data: Mapping[str, Any], root: type[BaseModel] = Config) -> str:
    """What to say of a key that nothing here takes."""
    expected, value = at(root, data, path[:-1])
    model = model_of(expected, value)
    if model is None:
        return "unknown key"
    keys = keys_of(model)
    who = model.name if issubclass(model, Component) else dotted(path[:-1]) or f"a {root.__name__.lower()}"
    takes = ", ".join(keys) if keys else "no keys"
    return f"unknown key{did_you_mean(path[-1], keys) or ';'} {who} takes: {takes}"


def known_path(path: tuple[str, ...], data: Mapping[str, Any]) -> bool:
    """Whether some class takes a key of that path."""
    return at(Config, data, path)[0] is not UNKNOWN


def _real_path(loc: tuple[int | str, ...], data: Any) -> tuple[Any, ...]:
    """pydantic's location without the names of union members that it adds at its end."""
    path: list[Any] = []
    for part in loc:
        if isinstance(data, Mapping):
            path.append(part)
            data = data.get(part)
        elif isinstance(data, list | tuple) and isinstance(part, int):
            path.append(part)
            data = data[part] if part < len(data) else None
        else:
            break
    return tuple(path)


def _text(detail: Mapping[str, Any], path: tuple[Any, ...], data: Mapping[str, Any], root: type[BaseModel]) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    expected, _ = at(root, data, path)
    if kind == "extra_forbidden":
        return unknown_key(path, data, root)
    if kind == "missing":
        return _missing(expected)
    if kind == "component":
        return detail["msg"]
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", detail["msg"]))
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        limit = context[bound]
        return f"should be {words} {f'{limit:g}' if isinstance(limit, float) else limit}, is {shown(value)}"
    if kind in _LENGTHS:
        return f"should be {_LENGTHS[kind].format(**context)}, has {len(value)}"
    if kind == "literal_error":
        hint = did_you_mean(value, [str(constant) for constant in constants(expected)])
        return f"should be {describe(expected)}, is {shown(value)}{hint}"
    if kind == "string_pattern_mismatch":
        return f"should match {context['pattern']}, is {shown(value)}"
    if kind.endswith("_parsing_size"):
        return f"is too large a number: {shown(value)}"
    if kind == "finite_number":
        return f"should be a finite number, is {value}"
    if kind.endswith(("_type", "_parsing", "_from_float")) and expected not in (Any, UNKNOWN):
        return f"should be {describe(expected)}, is {shown(value)}"
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, is {shown(value)}"


def _missing(expected: Any) -> str:
    kind = kind_of(expected)
    if kind is None:
        return f"is required: {describe(expected)}"
    names = ", ".join(sorted(installed().by_name[kind.kind])) or "none"
    return f"is required: {{name: …}}; installed: {names}"
