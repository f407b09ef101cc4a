"""Dependencies point one way, the engine names no plugin, and no file holds two things."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gandist.contract.components import KINDS
from gandist.contract.discovery import installed

ROOT = Path(__file__).parent.parent
ORDER = (
    "errors", "contract", "config", "training", "data", "evaluation", "tracking", "using", "testing", "launch", "cli",
)  # fmt: skip
"""Left never imports right."""
FILES = sorted((ROOT / "gandist").rglob("*.py"))
PLUGINS = sorted(path for path in (ROOT / "plugins").glob("gandist_*/**/*.py"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether at import time) of every import in a file."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            yield name, id(node) in top


def room(path: Path) -> str:
    return path.relative_to(ROOT / "gandist").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_what_stands_left_of_them(path: Path):
    if room(path) in ("__init__", "__main__"):
        return
    here = ORDER.index(room(path))
    for module, _ in imports(path):
        parts = module.split(".")
        if parts[0] == "gandist" and len(parts) > 1 and parts[1] in ORDER:
            assert ORDER.index(parts[1]) <= here, f"{room(path)} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_ray_and_wandb_have_one_home(path: Path):
    for module, at_import in imports(path):
        if module.split(".")[0] == "ray":
            assert room(path) == "launch"
        if module.split(".")[0] == "wandb":
            assert room(path) == "tracking"
            assert not at_import, "wandb is imported when a run starts"


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_use_public_names_only(path: Path):
    own = path.relative_to(ROOT / "plugins").parts[0]
    allowed = {"torch", "numpy", "PIL", "pyarrow", "pydantic", "gandist", own}
    for module, _ in imports(path):
        first = module.split(".")[0]
        assert first in allowed or first in __import__("sys").stdlib_module_names, module
        if first == "gandist":
            assert module.count(".") == 1, f"{module} is not a public name"


def test_the_engine_names_no_plugin():
    names = {component.name for kind in KINDS for component in installed().components(kind) if kind.kind != "watchers"}
    # A default that every config writes out: the optimizer of a player that the config does not name.
    names -= {"adam"}
    for path in FILES:
        if room(path) in ("training", "contract", "launch", "evaluation", "using"):
            strings = {
                node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
            } & names
            assert not strings, f"{path.relative_to(ROOT)} names {strings}"


@pytest.mark.parametrize("path", [*FILES, *PLUGINS], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_holds_two_things(path: Path):
    assert len(path.read_text().splitlines()) <= 300


def test_the_loop_is_one_function():
    tree = ast.parse((ROOT / "gandist" / "training" / "loop.py").read_text())
    (loop,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "train"]
    assert loop.end_lineno - loop.lineno < 120
    assert not [node for node in tree.body if isinstance(node, ast.ClassDef) and "Trainer" in node.name]
