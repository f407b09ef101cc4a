"""What is looked at before a file that somebody else may have written is read: no code, no bomb, no way out."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

MOST_JSON = 1_000_000
"""Bytes of a JSON file that one of our runs could have written."""


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a small JSON file. Raises ValueError for anything else, OSError if it cannot be read."""
    with path.open("rb") as file:
        content = file.read(MOST_JSON + 1)
    if len(content) > MOST_JSON:
        raise ValueError(f"is larger than {MOST_JSON:,} bytes")
    try:
        value = json.loads(content)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("holds no mapping")
    return value


def packed(path: Path) -> str | None:
    """Why a file is not one that `torch.save` wrote, which packs nothing: it could unpack to any size. None if it is.

    Raises OSError if it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return "it is not what torch.save writes"
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        return "it holds compressed data, which torch.save never writes"
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        return "it says that it holds more than its size"
    return None


def leads_out(folder: Path, not_below: str) -> Path | None:
    """A link in a folder, or anywhere below it, that leads out of it: what is written there would land elsewhere.

    not_below: a folder in it whose own folders are left out.
    """
    inside = os.path.realpath(folder)
    for place, folders, files in os.walk(inside):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink() and not _within(os.path.realpath(path), inside):
                return folder / path.relative_to(inside)
        if Path(place) == Path(inside, not_below):
            folders.clear()
    return None


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)
