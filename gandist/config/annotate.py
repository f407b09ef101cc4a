"""A complete config as YAML, with where each value came from beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gandist.config.yaml import write_yaml

DEFAULT = "default"


def origins(config: Mapping[str, Any], origin: Mapping[str, str]) -> dict[str, str]:
    """Dotted path of each value of a complete config → "configs/digits.yaml:3", "command line" or "default"."""
    return {path: _origin(path, origin) for path, _ in _leaves(config, "")}


def annotated(config: Mapping[str, Any], origin: Mapping[str, str]) -> str:
    """The config as YAML, a comment with the origin at the end of each line that holds a value."""
    lines = list(_lines(config, "", origin))
    width = min(max(len(line) for line, _ in lines), 60)
    return "\n".join(f"{line:<{width}}  # {where}" if where else line for line, where in lines) + "\n"


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if _block(value) else ()
    if not items:
        yield path, value
    for key, item in items:
        yield from _leaves(item, f"{path}.{key}" if path else str(key))


def _block(value: Any) -> bool:
    """Whether a list is written with an entry on each line."""
    return isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value)


def _lines(value: Any, path: str, origin: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        inner = f"{path}.{key}" if path else str(key)
        if isinstance(item, Mapping) and item:
            yield f"{key}:", ""
            for line, where in _lines(item, inner, origin):
                yield f"  {line}", where
        elif _block(item):
            yield f"{key}:", ""
            for index, entry in enumerate(item):
                for number, (line, where) in enumerate(_lines(entry, f"{inner}.{index}", origin)):
                    yield f"  {'  ' if number else '- '}{line}", where
        else:
            yield f"{key}: {write_yaml(item, flow=True)}", _origin(inner, origin)


def _origin(path: str, origin: Mapping[str, str]) -> str:
    above, _, last = path.rpartition(".")
    if path in origin:
        return origin[path]
    # `dataset: digits` is short for `dataset: {name: digits}`.
    return origin.get(above, DEFAULT) if last == "name" else DEFAULT
