"""What the classes of a config expect at each place of a mapping."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gandist.contract.component import Component
from gandist.contract.discovery import installed

UNKNOWN = object()
"""What is expected where no class knows the key."""


def options(expected: Any) -> list[Any]:
    """The alternatives of a type: `int | None` → [int, NoneType]; what Annotated wraps is unwrapped."""
    if get_origin(expected) is Annotated:
        return options(get_args(expected)[0])
    if get_origin(expected) in (Union, types.UnionType):
        return [option for part in get_args(expected) for option in options(part)]
    return [expected]


def constants(expected: Any) -> list[Any]:
    """The values that a type spells out, those of its Literals."""
    return [value for option in options(expected) if get_origin(option) is Literal for value in get_args(option)]


def model_of(expected: Any, value: Any) -> type[BaseModel] | None:
    """The class that reads `value` here: a section, or the component that the value names; None for plain values."""
    for option in options(expected):
        if not (isinstance(option, type) and issubclass(option, BaseModel)):
            continue
        if not (issubclass(option, Component) and option.abstract()):
            return option
        name = value.get("name") if isinstance(value, Mapping) else value
        return installed().by_name[option.kind].get(name) if isinstance(name, str) else None
    return None


def kind_of(expected: Any) -> type[Component] | None:
    """The kind of component that is expected here, if one is."""
    for option in options(expected):
        if isinstance(option, type) and issubclass(option, Component) and option.abstract():
            return option
    return None


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that a section or component takes, sorted."""
    return sorted(_fields(model))


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Its fields by the keys that stand for them in YAML."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def inside(expected: Any, value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """(key, expected there, value there) for all that a mapping or list holds; a component's `name` is left out."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not (key == "name" and kind_of(expected)):
                yield key, expected_at(expected, value, key), item
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield index, expected_at(expected, value, index), item


def expected_at(expected: Any, value: Any, key: Any) -> Any:
    """What is expected at value[key]; UNKNOWN where no class knows such a key, Any where nothing is said."""
    model = model_of(expected, value)
    if model is not None:
        field = _fields(model).get(key)
        return field.annotation if field is not None else UNKNOWN
    for option in options(expected):
        args = get_args(option)
        if get_origin(option) is dict and isinstance(value, Mapping):
            return args[1]
        if get_origin(option) in (tuple, list) and isinstance(key, int) and args:
            repeated = get_origin(option) is list or (len(args) == 2 and args[1] is Ellipsis)
            return args[0] if repeated else args[key] if key < len(args) else Any
    return Any


def at(expected: Any, value: Any, path: tuple[Any, ...]) -> tuple[Any, Any]:
    """(expected, value) at a path; the value is None where the mapping ends."""
    for key in path:
        expected = expected_at(expected, value, key)
        held = isinstance(value, Mapping) and key in value
        listed = isinstance(value, list | tuple) and isinstance(key, int) and key < len(value)
        value = value[key] if held or listed else None
    return expected, value


def describe(expected: Any) -> str:
    """What should stand here, in words: "a whole number or null"."""
    words = [_word(option) for option in options(expected)]
    return " or ".join(dict.fromkeys(words))


def shown(value: Any) -> str:
    """A value as YAML spells it, cut where it is long."""
    spelt = {True: "true", False: "false", None: "null"}
    text = spelt[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _word(option: Any) -> str:
    plain = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    if option in plain:
        return plain[option]
    if get_origin(option) is Literal:
        values = [shown(value) for value in get_args(option)]
        return values[0] if len(values) == 1 else f"one of {', '.join(values)}"
    if (get_origin(option) or option) in (tuple, list):
        return "a list"
    kind = kind_of(option)
    if kind is not None:
        return f"{kind.singular()}, {{name: …}}"
    if get_origin(option) is dict or (isinstance(option, type) and issubclass(option, BaseModel)):
        return "a section of keys"
    return getattr(option, "__name__", str(option))
