"""What YAML says and pydantic would convert in silence: 'no' is not false, true is not 1, '3' is not 3."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, get_origin

from gandist.config.places import UNKNOWN, constants, describe, expected_at, inside, options, shown

_NUMBERS_AND_SWITCHES = (int, float, bool, type(None))


def conversions(expected: Any, value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """(path, problem) for each scalar whose type is not the one that is expected, and for NaN and infinity."""
    if isinstance(value, bool | int | float | str):
        problem = _problem(expected, value)
        if problem:
            yield path, problem
    for key, below, item in inside(expected, value):
        yield from conversions(below, item, (*path, key))


def _problem(expected: Any, value: bool | float | str) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"should be a finite number, is {value}"
    choices = options(expected)
    if any(constant == value and type(constant) is type(value) for constant in constants(expected)):
        return None
    types = [option for option in choices if get_origin(option) is not Literal]
    if expected is UNKNOWN or not all(option in (*_NUMBERS_AND_SWITCHES, str) for option in types):
        return None
    fits = {
        bool: bool in types,
        str: str in types,
        int: int in types or float in types,
        # 1e5 is how some write a whole number; pydantic refuses 1.5.
        float: int in types or float in types,
    }
    return None if fits[type(value)] else f"should be {describe(expected)}, is {shown(value)}"


def without_empty(expected: Any, value: Any) -> Any:
    """The value without the nulls where null is no value: they give the default back."""
    if isinstance(value, dict):
        kept = {}
        for key, item in value.items():
            below = UNKNOWN if key == "name" else expected_at(expected, value, key)
            if item is None and below is not UNKNOWN and below is not Any and type(None) not in options(below):
                continue
            kept[key] = without_empty(below, item)
        return kept
    if isinstance(value, list | tuple):
        return [without_empty(expected_at(expected, value, index), item) for index, item in enumerate(value)]
    return value
