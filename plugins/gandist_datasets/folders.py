"""Where data lies on disk."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from gandist import ConfigError, Place

Root = Annotated[str, AfterValidator(Place.root)]
"""A URL, or a path made absolute where the config is read, because workers run in other directories."""


def existing_folder(root: str) -> Path:
    """The folder `root`. Raises ConfigError that names the nearest folder if it is missing or a file."""
    folder = Path(root)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ConfigError(f"dataset.root: {folder} is a file, not a folder; give the folder that holds the data")
    ancestor = next(parent for parent in folder.parents if parent.is_dir())
    missing = folder.relative_to(ancestor).parts[0]
    siblings = (
        sorted(entry.name for entry in ancestor.iterdir() if entry.is_dir()) if os.access(ancestor, os.R_OK) else []
    )
    near = get_close_matches(missing, siblings, n=1, cutoff=0.6)
    there = f"has {', '.join(siblings[:6])}" if siblings else "has no folders"
    hint = f"did you mean {ancestor / near[0]}?" if near else f"{ancestor} {there}; set dataset.root to yours"
    raise ConfigError(f"dataset.root: there is no folder {folder}; {hint}")
