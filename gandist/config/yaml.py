"""Strict YAML: plain values only, no key twice, and the line of each key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gandist.errors import ConfigError, did_you_mean

MOST_BYTES = 1_000_000
MOST_VALUES = 100_000
"""Values in one file, counting what aliases repeat: a few lines of aliases can stand for billions."""

_TAG = "tag:yaml.org,2002:"
_PLAIN = {f"{_TAG}{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map")}


class _Reader(yaml.SafeLoader):
    """YAML 1.2's scalars, more or less: `1e-4` is a number; yes, no, on, off, dates and 1:30 are text."""


class _Writer(yaml.SafeDumper):
    """Quotes whatever either reader, ours or plain YAML 1.1, would not read back as text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Reader.yaml_implicit_resolvers = {}
_Writer.yaml_implicit_resolvers = {k: list(rules) for k, rules in yaml.SafeDumper.yaml_implicit_resolvers.items()}
_EXPONENT = r"[eE][-+]?[0-9]+"
_FLOAT = (
    rf"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*\.[0-9_]*)(?:{_EXPONENT})?|[-+]?[0-9][0-9_]*{_EXPONENT}"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F_]+", list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
):
    for _class in (_Reader, _Writer):
        _class.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"^(?:{_pattern})$"), _first)


@dataclass
class Located:
    """A mapping that was read from a file. lines: dotted path → line of its key, counted from 1."""

    mapping: dict[str, Any]
    lines: dict[str, int] = field(default_factory=dict)


def read_yaml(
    path: Path, *, needs: str = "a config needs at least dataset, architecture and loss, or extends", dots: bool = False
) -> Located:
    """Reads one config file. Raises ConfigError with file and line for what is not a plain, non-empty mapping.

    needs: what an empty file is told. dots: whether keys may be dotted paths.
    """
    text = _read_text(path)
    lines: dict[str, int] = {}
    value = _parse(text, str(path), lines, dots)
    if value is None:
        raise ConfigError(f"{path}: is empty; {needs}")
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: should be a mapping, KEY: VALUE on each line, but holds {_describe(value)}")
    return Located(value, lines)


def read_value(text: str, place: str) -> Any:
    """A single value, as it stands on a command line. `place` begins the text of a ConfigError."""
    return _parse(text, place, None)


def write_yaml(value: Any, *, flow: bool = False) -> str:
    """The value as YAML that `read_yaml` reads back equal; on one line with `flow`."""
    text = yaml.dump(
        value,
        Dumper=_Writer,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=flow,
        width=10**6 if flow else 100,
    )
    return text.removesuffix("...\n").rstrip("\n") if flow else text


def _read_text(path: Path) -> str:
    if path.is_dir():
        inside = next(iter(sorted(path.glob("*.y*ml"))), None)
        raise ConfigError(f"{path}: is a folder, not a config file" + (f"; it holds {inside}" if inside else ""))
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        folder = path.parent
        if not folder.is_dir():
            raise ConfigError(f"{path}: no such file; the folder {folder} is not there either") from None
        known = [other.name for other in folder.iterdir() if other.is_file()]
        raise ConfigError(f"{path}: no such file{did_you_mean(path.name, known)}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: is larger than {MOST_BYTES:,} bytes, so it is no config; name a YAML file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: is not UTF-8 text (byte {error.start}), so it is no YAML; name a YAML file"
        ) from None


def _parse(text: str, place: str, lines: dict[str, int] | None, dots: bool = False) -> Any:
    """lines: filled with the lines of the keys; None for a text of one line, whose number tells nothing."""
    try:
        reader = _Reader(text)
        node = reader.get_single_node()
        return None if node is None else _Builder(reader, place, lines, dots).build(node, "")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{place}:{mark.line + 1}" if mark and lines is not None else place
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{where}: cannot be read as YAML: {what}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{place}: cannot be read as YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise ConfigError(f"{place}: is nested too deeply, or an alias stands inside its own anchor") from None


class _Builder:
    """Turns the nodes of one document into plain values, writing down the line of each key."""

    def __init__(self, reader: _Reader, place: str, lines: dict[str, int] | None, dots: bool):
        self._reader, self._place, self._dots = reader, place, dots
        self._lines, self._numbered = {} if lines is None else lines, lines is not None
        self._left = MOST_VALUES

    def build(self, node: yaml.Node, path: str) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ConfigError(f"{self._place}: holds more than {MOST_VALUES:,} values, counting what aliases repeat")
        if node.tag not in _PLAIN:
            tag = node.tag.removeprefix(_TAG)
            raise self._error(node, f"the tag {tag} is refused: a config holds plain values only; remove it")
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, f"{path}.{index}") for index, item in enumerate(node.value)]
        try:
            return self._reader.construct_object(node)
        except ValueError as error:
            raise self._error(node, f"{node.value[:40]!r} cannot be read: {error}") from None

    def _item(self, node: yaml.Node, path: str) -> Any:
        self._lines[path] = node.start_mark.line + 1
        return self.build(node, path)

    def _pairs(self, node: yaml.MappingNode, path: str) -> Iterator[tuple[str, Any]]:
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = self.build(key_node, path) if isinstance(key_node, yaml.ScalarNode) else None
            line = key_node.start_mark.line + 1
            if not isinstance(key, str) or ("." in key and not self._dots):
                shown = getattr(key_node, "value", "") if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
                raise self._error(key_node, f"the key {shown} should be text without dots; nest sections instead")
            if key in first:
                raise self._error(key_node, f"duplicate key '{key}', first on line {first[key]}; remove one")
            first[key] = line
            inner = f"{path}.{key}" if path else key
            self._lines[inner] = line
            yield key, self.build(value_node, inner)

    def _error(self, node: yaml.Node, text: str) -> ConfigError:
        where = f"{self._place}:{node.start_mark.line + 1}" if self._numbered else self._place
        return ConfigError(f"{where}: {text}")


def _describe(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"only {str(value)[:40]!r}"
