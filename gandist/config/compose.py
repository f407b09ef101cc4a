"""One mapping out of a file, the files it extends, and overrides; and where each value came from."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gandist.config.overrides import Override, read_overrides
from gandist.config.schema import DEFAULT_OPTIMIZER
from gandist.config.yaml import read_yaml
from gandist.errors import ConfigError

COMMAND_LINE = "command line"


@dataclass
class Composed:
    """A composed config, not yet checked.

    mapping: plain values. origin: dotted path of each scalar and list → "configs/base/small.yaml:12" or "command line".
    title: what messages call it, usually the file. reset: dotted paths that overrides gave back their defaults.
    """

    mapping: dict[str, Any]
    title: str
    origin: dict[str, str] = field(default_factory=dict)
    reset: list[str] = field(default_factory=list)


def compose(
    config: str | os.PathLike[str] | Mapping[str, Any], overrides: Sequence[str] | Mapping[str, Any] = ()
) -> Composed:
    """Composes a YAML file (or a mapping that is already there) with overrides.

    Maps merge, lists replace, and a section that names another component replaces the whole section.
    overrides: "a.b=VALUE" with VALUE read as YAML, or {"a.b": value}; null gives the default back.
    Raises ConfigError with file and line for a file that cannot be read and for a malformed override.
    """
    if isinstance(config, Mapping):
        composed = Composed({}, "config")
        _merge(composed, copy.deepcopy(dict(config)), _Origins("config", {}))
    else:
        path = Path(config)
        composed = Composed({}, str(path))
        _add_file(composed, path, ())
        if composed.mapping.get("run") is None:
            composed.mapping["run"] = {}
        run = composed.mapping["run"]
        if isinstance(run, dict) and run.get("name") is None:
            run["name"] = path.stem
            composed.origin["run.name"] = "name of the file"
    given = read_overrides(overrides)
    # Whatever its place on the command line: a component's name first, then its fields.
    for override in sorted(given, key=lambda override: not override.names_component):
        _override(composed, override)
    return composed


@dataclass
class _Origins:
    """Where the values of one layer stand."""

    place: str
    lines: Mapping[str, int]

    def of(self, path: str) -> str:
        return f"{self.place}:{self.lines[path]}" if path in self.lines else self.place


_TYPED = _Origins(COMMAND_LINE, {})


def _add_file(composed: Composed, path: Path, chain: tuple[Path, ...]) -> None:
    if path in chain:
        circle = " → ".join(str(file) for file in (*chain[chain.index(path) :], path))
        raise ConfigError(f"{chain[0]}: extends goes in a circle: {circle}; remove one of them")
    located = read_yaml(path)
    extends = located.mapping.pop("extends", None)
    line = located.lines.get("extends")
    bases = [extends] if isinstance(extends, str) else extends or []
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{path}:{line}: extends should be a file or a list of files, is {extends!r}")
    for base in bases:
        file = Path(os.path.normpath(path.parent / base))
        if not file.is_file():
            try:
                read_yaml(file)
            except ConfigError as error:
                raise ConfigError(f"{path}:{line}: extends {error}") from None
        _add_file(composed, file, (*chain, path))
    _merge(composed, located.mapping, _Origins(str(path), located.lines))


def _merge(composed: Composed, layer: dict[str, Any], origins: _Origins) -> None:
    for key, value in layer.items():
        _lay(composed, composed.mapping, key, value, key, origins)


def _lay(composed: Composed, parent: Any, key: Any, value: Any, path: str, origins: _Origins) -> None:
    """Puts `value` at parent[key]: merges mappings, replaces everything else."""
    old = parent.get(key) if isinstance(parent, dict) else parent[key]
    if path != "run":
        if isinstance(old, str) and isinstance(value, dict):
            old = _spelt_out(composed, old, path)
        elif isinstance(old, dict) and "name" in old and isinstance(value, str):
            value = {"name": value}
    if isinstance(old, dict) and isinstance(value, dict) and _same_component(old, value, path):
        parent[key] = old
        for inner, item in value.items():
            _lay(composed, old, inner, item, f"{path}.{inner}", origins)
        return
    _forget(composed, path)
    parent[key] = value
    _write_down(composed, path, value, origins)


def _spelt_out(composed: Composed, name: str, path: str) -> dict[str, Any]:
    """A bare name is short for {name: …}."""
    if path in composed.origin:
        composed.origin[f"{path}.name"] = composed.origin.pop(path)
    return {"name": name}


def _same_component(old: dict[str, Any], new: dict[str, Any], path: str) -> bool:
    if path == "run" or "name" not in new:
        return True
    usual = DEFAULT_OPTIMIZER if path.startswith("optimizer.") else new["name"]
    return old.get("name", usual) == new["name"]


def _forget(composed: Composed, path: str) -> None:
    for known in [k for k in composed.origin if k == path or k.startswith(f"{path}.")]:
        del composed.origin[known]


def _write_down(composed: Composed, path: str, value: Any, origins: _Origins) -> None:
    if not isinstance(value, dict):
        composed.origin[path] = origins.of(path)
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        _write_down(composed, f"{path}.{key}", item, origins)


def _override(composed: Composed, override: Override) -> None:
    parent: Any = composed.mapping
    *above, last = override.path
    for depth, part in enumerate(above):
        here = ".".join(override.path[: depth + 1])
        if isinstance(parent, dict):
            # A number below a section that is not there can only mean a list without entries.
            below = parent.setdefault(part, [] if override.path[depth + 1].isdecimal() else {})
            if isinstance(below, str) and part != "run":
                below = parent[part] = _spelt_out(composed, below, here)
            elif below is None:
                below = parent[part] = {}
        else:
            index = _position(override, here, part, parent)
            below = parent[index]
            if isinstance(below, str):
                below = parent[index] = _spelt_out(composed, below, here)
        if not isinstance(below, dict | list):
            raise ConfigError(f"{override.text}: {here} is {below!r}, which holds no {override.path[depth + 1]}")
        parent = below
    key: Any = last if isinstance(parent, dict) else _position(override, override.dotted, last, parent)
    if override.value is None:
        _give_back(composed, override, parent, key)
        return
    section = ".".join(above)
    if last == "name" and section and not _same_component(parent, {"name": override.value}, section):
        _forget(composed, section)
        parent.clear()
    _lay(composed, parent, key, override.value, override.dotted, _TYPED)


def _give_back(composed: Composed, override: Override, parent: Any, key: Any) -> None:
    """Removes a value, so that its default comes back."""
    _forget(composed, override.dotted)
    if isinstance(parent, dict):
        composed.reset.append(override.dotted)
        parent.pop(key, None)
        return
    del parent[key]
    above = ".".join(override.path[:-1])
    _forget(composed, above)
    _write_down(composed, above, parent, _TYPED)


def _position(override: Override, here: str, part: str, items: list[Any]) -> int:
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    above = here.rpartition(".")[0]
    entries = f"entries 0 to {len(items) - 1}" if items else "no entries"
    raise ConfigError(
        f"{override.text}: {above} is a list with {entries}, not '{part}'; set the whole list: {above}=[…]"
    )
