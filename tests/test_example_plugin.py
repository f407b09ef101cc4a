"""A plugin outside gandist's own distribution: installed, found, checked, trained; and new ones made from it."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gandist import ConfigError
from gandist.testing import new_plugin

EXAMPLE = Path(__file__).parents[1] / "plugins" / "example"


def install(project: Path, site: Path) -> dict[str, str]:
    """Installs a project into a folder as an editable install does, by its entry points and its path, without
    building it. Returns the environment in which it is installed."""
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    info = site / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    points = "\n".join(f"{name} = {module}" for name, module in about["entry-points"]["gandist"].items())
    (info / "entry_points.txt").write_text(f"[gandist]\n{points}\n")
    path = os.pathsep.join([str(site), str(project), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


def run(environment: dict[str, str], folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], env=environment, cwd=folder, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed_example(tmp_path_factory):
    return install(EXAMPLE, tmp_path_factory.mktemp("site"))


def test_it_is_listed(installed_example, tmp_path):
    plugins = json.loads(run(installed_example, tmp_path, "gandist", "plugins", "--json"))
    (example,) = [plugin for plugin in plugins if plugin["name"] == "gandist_example"]
    assert example["distribution"] == "gandist-example"
    assert example["error"] is None
    assert {component["name"] for component in example["components"]} == {
        "example-least-squares",
        "example-dense",
        "example-checkerboard",
    }


def test_it_trains_on_two_workers(installed_example, tmp_path):
    config = str(EXAMPLE / "configs" / "checkerboard.yaml")
    run(installed_example, tmp_path, "gandist", "check", config)
    run(installed_example, tmp_path, "gandist", "train", config, "train.images=1280", "train.log_every=1")
    folder = tmp_path / "runs" / "checkerboard"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 11))
    assert lines[-1]["loss/discriminator/total"] == pytest.approx(
        lines[-1]["loss/discriminator/real"] + lines[-1]["loss/discriminator/fake"], rel=1e-5
    )
    assert (folder / "generator.safetensors").is_file()


def test_the_tutorial_shows_the_code_as_it_is():
    tutorial = (EXAMPLE.parent / "README.md").read_text()
    shown = re.findall(r"```(?:python|toml)\n(.*?)```", tutorial, re.DOTALL)
    roots = (EXAMPLE.parent, EXAMPLE.parents[1] / "gandist")
    sources = [path.read_text() for root in roots for end in ("*.py", "*.toml") for path in root.rglob(end)]
    assert len(shown) > 5
    assert [block for block in shown if not any(block in source for source in sources)] == []


def test_a_new_plugin_is_called_as_its_folder_and_passes_its_own_tests(tmp_path):
    folder = tmp_path / "My-Losses"
    files = {path.relative_to(folder).as_posix() for path in new_plugin(folder)}
    assert files == {
        "README.md",
        "configs/checkerboard.yaml",
        "my_losses/__init__.py",
        "my_losses/architecture.py",
        "my_losses/dataset.py",
        "my_losses/loss.py",
        "pyproject.toml",
        "tests/test_plugin.py",
    }
    about = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert about["name"] == "my-losses"
    assert about["entry-points"]["gandist"] == {"my_losses": "my_losses"}
    assert '"my-losses-least-squares"' in (folder / "my_losses" / "loss.py").read_text()
    left = [path for path in folder.rglob("*") if path.is_file() and "gandist_example" in path.read_text()]
    assert left == []
    run(install(folder, tmp_path / "site"), folder, "pytest", "-q", "-p", "no:cacheprovider")


def test_a_new_plugin_takes_an_empty_folder(tmp_path):
    folder = tmp_path / "empty-one"
    folder.mkdir()
    assert new_plugin(folder)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("9lives", "cannot be a package's name"),
        ("with space", "cannot be a package's name"),
        ("import", "cannot be a package's name"),
        ("json", "json is installed already"),
        ("gandist", "gandist is installed already"),
    ],
)
def test_a_new_plugin_refuses_a_name(tmp_path, name, complaint):
    with pytest.raises(ConfigError, match=complaint):
        new_plugin(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_new_plugin_never_overwrites(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    folder = tmp_path / "taken"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not an empty folder"):
        new_plugin(folder)
    with pytest.raises(ConfigError, match="not an empty folder"):
        new_plugin(tmp_path / "notes.txt")
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_pip_installs_a_new_plugin(tmp_path):
    folder, site = tmp_path / "pip-made", tmp_path / "site"
    new_plugin(folder)
    quiet = ["--quiet", "--no-deps", "--disable-pip-version-check"]
    run(dict(os.environ), tmp_path, "pip", "install", *quiet, "--target", str(site), str(folder))
    environment = {**os.environ, "PYTHONPATH": str(site)}
    plugins = json.loads(run(environment, tmp_path, "gandist", "plugins", "--json"))
    assert "pip_made" in [plugin["name"] for plugin in plugins if plugin["error"] is None]
