"""How verbs print what they return."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def print_json(value: Any) -> None:
    """The value as JSON on stdout; what JSON has no type for (paths) as text."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_result(result: Mapping[str, Any], as_json: bool) -> None:
    """A result as JSON, or its entries one a line; nested ones with dotted names."""
    if as_json:
        print_json(result)
        return
    print_rows([(n, f"{v:.6g}" if isinstance(v, float) else str(v)) for n, v in _flat(result, "")])


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values, one pair a line, the values in one column."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def _flat(result: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in result.items():
        rows += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return rows


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: drawn on a terminal, else plain aligned text in which no cell is ever cut."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table()
        for title in header:
            table.add_column(title, overflow="fold")
        for row in rows:
            # As Text, since brackets in plain strings would be read as markup.
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
