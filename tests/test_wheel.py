"""Wheels of what is installed here: complete, the same bytes each time, and seen before anything else of that name."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest

from gandist import ConfigError
from gandist.launch import wheel as wheels
from gandist.launch.wheel import pack, public
from tests.processes import run

LOSS = """
from typing import ClassVar
from gandist import Loss, hookimpl
import {helper}

class Mine(Loss):
    name: ClassVar[str] = "{name}"

@hookimpl
def gandist_losses():
    return [Mine]
"""


def editable(site: Path, source: Path, name: str, hook: dict[str, str], requires: str = "") -> Distribution:
    """A distribution as `pip install --editable` leaves it: a hook, and no word of its modules."""
    about = site / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}\nRead me.\n")
    (about / "entry_points.txt").write_text(f"[gandist]\n{name} = {name}\n")
    (about / "direct_url.json").write_text(json.dumps({"dir_info": {"editable": True}, "url": source.as_uri()}))
    for file, text in hook.items():
        (site / file).write_text(text)
    (about / "RECORD").write_text("".join(f"{file},,\n" for file in [*hook, f"{about.name}/METADATA"]))
    (found,) = distributions(path=[str(site)])
    return found


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return set(archive.namelist())


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout: a package with a helper beside it, and much that belongs to neither."""
    folder = tmp_path / "checkout"
    package = folder / "wheelmine"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__init__.py").write_text(LOSS.format(name="wheel-mine", helper="wheelhelper"))
    (package / "table.json").write_text("{}")
    (package / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"")
    (package / ".secret").write_text("")
    (folder / "wheelhelper.py").write_text("import numpy\n")
    (folder / "wheelother.py").write_text("")
    (folder / "tests").mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


HOOKS = {
    "path": lambda source: {"_wheelmine.pth": f"{source}\n"},
    "finder": lambda source: {
        "__editable__.wheelmine-1.0.pth": "import __editable___wheelmine_1_0_finder",
        "__editable___wheelmine_1_0_finder.py": (
            f"from __future__ import annotations\nMAPPING: dict[str, str] = {{'wheelmine': '{source}/wheelmine'}}\n"
        ),
    },
}


@pytest.mark.parametrize("hook", HOOKS)
def test_an_editable_install_is_packed_with_what_it_imports_and_nothing_else(hook: str, source: Path, tmp_path: Path):
    requires = "Requires-Dist: torch\nRequires-Dist: rare>=2\n"
    found = editable(tmp_path / "site", source, "wheelmine", HOOKS[hook](source), requires)
    packed = pack(found, tmp_path, provided={"torch"})
    assert packed.version.startswith("1.0+g")
    about = f"wheelmine-{packed.version}.dist-info"
    assert packed.path.name == f"wheelmine-{packed.version}-py3-none-any.whl"
    assert names(packed.path) == {
        "wheelmine/__init__.py",
        "wheelmine/table.json",
        "wheelhelper.py",
        *(f"{about}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")),
    }
    with zipfile.ZipFile(packed.path) as archive:
        metadata = archive.read(f"{about}/METADATA").decode()
    assert f"Version: {packed.version}\n" in metadata
    assert "torch" not in metadata
    assert "Requires-Dist: rare>=2" in metadata


def test_the_same_content_is_the_same_file_and_another_content_another_version(source: Path, tmp_path: Path):
    found = editable(tmp_path / "site", source, "wheelmine", HOOKS["path"](source))
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    first, second = pack(found, tmp_path / "a"), pack(found, tmp_path / "b")
    assert first.version == second.version
    assert first.path.read_bytes() == second.path.read_bytes()
    (source / "wheelhelper.py").write_text("import numpy  # and more\n")
    assert pack(found, tmp_path / "c").version != first.version
    assert public(first.version) == "1.0"
    assert public("1.0+cpu.g0123456789ab") == "1.0+cpu"


def test_a_distribution_without_files_or_with_too_many_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found = editable(tmp_path / "site", source, "wheelmine", HOOKS["path"](source))
    monkeypatch.setattr(wheels, "LARGEST", 100)
    with pytest.raises(ConfigError, match=r"wheelmine: its files are .* the largest is .*__init__\.py"):
        pack(found, tmp_path)
    lost = editable(tmp_path / "other", source, "wheelgone", {"_wheelgone.pth": f"{source}\n"})
    with pytest.raises(ConfigError, match=r"wheelgone 1\.0 cannot be packed"):
        pack(lost, tmp_path)


def test_gandist_itself_is_whole_in_its_wheel_and_pip_takes_it(tmp_path: Path):
    packed = pack(distribution("gandist"), tmp_path)
    target = tmp_path / "target"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(target)]
    done = subprocess.run([*pip, str(packed.path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = run("plugins", "--json", cwd=tmp_path, PYTHONPATH=str(target))
    assert shown.returncode == 0, shown.stderr
    plugins = {plugin["name"]: plugin for plugin in json.loads(shown.stdout)}
    assert plugins["losses"]["version"] == packed.version
    assert plugins["losses"]["error"] is None
    assert run("--version", cwd=tmp_path, PYTHONPATH=str(target)).stdout.strip() == packed.version
    source = Path(wheels.__file__).parents[1]
    shipped = {name for name in names(packed.path) if name.endswith(".py") and name.startswith("gandist/")}
    assert {f"gandist/{path.relative_to(source).as_posix()}" for path in source.rglob("*.py")} <= shipped
    assert "gandist_datasets/digits.npz" in names(packed.path)


def test_what_was_shipped_hides_an_older_version_with_other_plugins(tmp_path: Path):
    """As on a node: the wheel is unpacked in front of an installed version of the same distribution."""
    for folder, version, names_in in (("new", "2.0", ["one"]), ("old", "1.0", ["one", "two"])):
        about = tmp_path / folder / f"hidden_plugin-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: hidden-plugin\nVersion: {version}\n")
        points = "".join(f"{name} = hidden_{name}\n" for name in names_in)
        (about / "entry_points.txt").write_text(f"[gandist]\n{points}")
        for name in names_in:
            source = LOSS.format(name=f"hidden-{name}", helper="torch")
            (tmp_path / folder / f"hidden_{name}.py").write_text(source)
    path = f"{tmp_path / 'new'}:{tmp_path / 'old'}"
    shown = run("plugins", "--json", cwd=tmp_path, PYTHONPATH=f"{path}:{Path(__file__).parents[1]}")
    assert shown.returncode == 0, shown.stderr
    found = [plugin for plugin in json.loads(shown.stdout) if plugin["distribution"] == "hidden-plugin"]
    assert [(plugin["name"], plugin["version"]) for plugin in found] == [("one", "2.0")]
