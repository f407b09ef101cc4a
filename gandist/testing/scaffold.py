"""Writes a new plugin package: the example plugin under another name."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from gandist.errors import ConfigError

_HERE = Path(__file__).parent
_HOMES = (_HERE / "template", _HERE.parents[1] / "plugins" / "example")
"""Where the example lies: in an installed gandist, and in its source tree."""

_SUFFIXES = {".py", ".toml", ".md", ".yaml"}
_OWN_NAME = re.compile(r"gandist[-_]example|\bexample-")


def new_plugin(folder: Path) -> list[Path]:
    """Writes a plugin package into `folder` and returns the files, the package's own first.

    The distribution is called as the folder, its package likewise (my-losses has my_losses), and its components begin
    with that name. Raises ConfigError if the folder holds something or its name cannot be a package's.
    """
    folder = Path(folder)
    name = _distribution(folder)
    package = name.replace("-", "_").replace(".", "_")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: exists and is not an empty folder; name one that does not exist yet")
    if find_spec(package) is not None:
        raise ConfigError(f"{folder}: a Python package {package} is installed already; give the folder another name")
    written = []
    try:
        for path in _template():
            relative = path.relative_to(_home())
            target = folder / _OWN_NAME.sub(lambda found: _renamed(found[0], name, package), relative.as_posix())
            target.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8")
            target.write_text(_OWN_NAME.sub(lambda found: _renamed(found[0], name, package), text), encoding="utf-8")
            written.append(target)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return sorted(written, key=lambda path: (path.parent.name != package, path))


def _renamed(found: str, name: str, package: str) -> str:
    return {"gandist-example": name, "gandist_example": package}.get(found, f"{name}-")


def _distribution(folder: Path) -> str:
    name = folder.resolve().name.lower()
    package = name.replace("-", "_").replace(".", "_")
    if not re.fullmatch(r"[a-z]([a-z0-9._-]*[a-z0-9])?", name) or keyword.iskeyword(package):
        raise ConfigError(
            f"{folder}: '{folder.resolve().name}' cannot be a package's name; use letters, digits and hyphens, "
            f"beginning with a letter, such as my-losses"
        )
    return name


def _home() -> Path:
    found = next((home for home in _HOMES if home.is_dir()), None)
    if found is None:
        raise ConfigError(
            f"this gandist was installed without its example plugin ({_HOMES[0]} is missing); reinstall it"
        )
    return found


def _template() -> Iterator[Path]:
    """The example's source files; not what tests, builds and runs have left beside them."""
    home = _home()
    for path in sorted(home.rglob("*")):
        parts = path.relative_to(home).parts
        hidden = any(part.startswith((".", "__pycache__")) or part in ("runs", "build", "dist") for part in parts)
        if path.is_file() and path.suffix in _SUFFIXES and not hidden:
            yield path
