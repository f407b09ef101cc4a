"""Which files make up an installed distribution, also where it is an editable install or a folder on PYTHONPATH."""

from __future__ import annotations

import ast
import site
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from gandist.errors import ConfigError

_ABOUT = (".dist-info", ".egg-info")


def files_of(distribution: Distribution) -> dict[str, Path]:
    """Place in a wheel → file, for everything but the distribution's own metadata.

    What was installed is read from its record. An editable install records a hook only: its modules are those that its
    entry points and its list of modules name, and those beside them that they import. Raises ConfigError if nothing is
    found.
    """
    recorded, whole = _recorded(distribution)
    if whole:
        return recorded
    found = dict(recorded)
    for name, place in _modules(distribution).items():
        found |= _below(name, place)
    if not found:
        raise ConfigError(
            f"{distribution.name} {distribution.version} cannot be packed: neither its record nor its entry points "
            f"name files; install it again (pip install), or bake it into the cluster's image and submit with --no-ship"
        )
    return found


def about(distribution: Distribution) -> dict[str, bytes]:
    """The files of its metadata folder that a wheel takes over as they are: entry points, licences."""
    made_anew = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "WHEEL", "METADATA", "PKG-INFO"}
    found = {}
    for file in distribution.files or ():
        folder, _, name = PurePosixPath(file).as_posix().partition("/")
        if folder.endswith(".dist-info") and name not in made_anew and not name.endswith((".pyc", ".jws", ".p7s")):
            path = Path(str(distribution.locate_file(file)))
            if path.is_file():
                found[name] = path.read_bytes()
    for name in ("entry_points.txt", "top_level.txt"):
        if (text := distribution.read_text(name)) is not None:
            found.setdefault(name, text.encode())
    return found


def _recorded(distribution: Distribution) -> tuple[dict[str, Path], bool]:
    """The recorded files, and whether they are all there is."""
    if distribution.read_text("RECORD") is None:
        return {}, False
    found, whole = {}, True
    for file in distribution.files or ():
        place = PurePosixPath(file)
        if place.suffix == ".pth" or place.name.startswith("__editable__"):
            whole = False
        elif place.parts[0] not in ("..", "/") and not place.parts[0].endswith(_ABOUT) and _wanted(place):
            path = Path(str(distribution.locate_file(file)))
            if path.is_file():
                found[place.as_posix()] = path
    return found, whole and bool(found)


def _wanted(place: PurePosixPath) -> bool:
    return place.suffix != ".pyc" and not any(part == "__pycache__" or part.startswith(".") for part in place.parts)


def _modules(distribution: Distribution) -> dict[str, Path]:
    """Top-level name → module file or package folder, of what is imported here under that name."""
    names = {point.module.partition(".")[0] for point in distribution.entry_points}
    names |= set((distribution.read_text("top_level.txt") or "").split()) | _mapped(distribution)
    found = {name: place for name in sorted(names) if (place := _place(name)) is not None}
    roots = {place.parent for place in found.values()}
    waiting = list(found.values())
    while waiting:
        for name in _imported(waiting.pop()) - found.keys():
            place = _place(name)
            if place is not None and place.parent in roots:
                found[name] = place
                waiting.append(place)
    return found


def _mapped(distribution: Distribution) -> set[str]:
    """The modules that setuptools' finder of an editable install knows."""
    for file in distribution.files or ():
        if PurePosixPath(file).name.startswith("__editable__") and PurePosixPath(file).suffix == ".py":
            tree = ast.parse(Path(str(distribution.locate_file(file))).read_text(encoding="utf-8"))
            for node in tree.body:
                target = node.target if isinstance(node, ast.AnnAssign) else None
                if isinstance(target, ast.Name) and target.id == "MAPPING" and isinstance(node, ast.AnnAssign):
                    mapping = ast.literal_eval(node.value) if node.value is not None else {}
                    return {str(name).partition(".")[0] for name in mapping}
    return set()


def _place(name: str) -> Path | None:
    """Where a top-level module of one's own lies: neither the standard library's, nor installed, nor a bare folder."""
    if name in sys.stdlib_module_names:
        return None
    try:
        spec: ModuleSpec | None = find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    origin = Path(spec.origin)
    place = origin.parent if spec.submodule_search_locations is not None else origin
    return None if place.parent in _installed() else place


def _installed() -> set[Path]:
    return {Path(place) for place in (*site.getsitepackages(), *map(sysconfig.get_path, ("purelib", "platlib")))}


def _imported(place: Path) -> set[str]:
    """The top-level names that a module or package imports anywhere."""
    found = set()
    for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


def _below(name: str, place: Path) -> dict[str, Path]:
    if place.is_file():
        return {place.name: place}
    return {f"{name}/{relative}": path for relative, path in _tree(place)}


def _tree(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and _wanted(PurePosixPath(relative.as_posix())):
            yield relative.as_posix(), path
