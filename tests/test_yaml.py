"""Strict YAML: what scalars mean, and that what is written is read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gandist.config.yaml import read_value, read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("2.0e-4", 2e-4),
        ("1E5", 1e5),
        ("150_000", 150_000),
        ("-3", -3),
        ("0x1f", 31),
        (".5", 0.5),
        ("true", True),
        ("null", None),
        ("~", None),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("1..8", "1..8"),
        ("012", "012"),
        ("1e", "1e"),
        ("{a: [1, x]}", {"a": [1, "x"]}),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    read = read_value(text, "here")
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "value",
    ["1e-4", "yes", "no", "1:30", "null", "", "0x1f", "150_000", "2024-01-01", "é", "a: b", 1e-8, [1, None], True],
)
def test_what_is_written_is_read_back(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(write_yaml({"value": value, "nested": {"list": [{"value": value}]}}))
    assert read_yaml(path).mapping == {"value": value, "nested": {"list": [{"value": value}]}}
    assert read_value(write_yaml(value, flow=True), "here") == value


def test_lines_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# comment\na:\n  b: 1\n  c: {d: 2}\nl:\n  - e: 3\n")
    assert read_yaml(path).lines == {"a": 2, "a.b": 3, "a.c": 4, "a.c.d": 4, "l": 5, "l.0": 6, "l.0.e": 6}
