"""benchmarks/results.py makes figures once, goes on where it was stopped, and docs/results.md has them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.arithmetic

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
SMALL = ["train.images=10_240", "train.save_every=10", "dataset.count=1000", "architecture.width=8"]
SETTINGS: dict[str, Any] = {
    "ring8": {
        "config": "configs/ring8.yaml",
        "score": "result",
        "seeds": [0, 1],
        "overrides": SMALL,
        "entries": {"minimax": ["loss.name=minimax"], "hinge": ["loss.name=hinge"]},
    }
}


class Results:
    """The script on settings, figures and a page of its own."""

    def __init__(self, folder: Path):
        self.folder, self.page = folder, folder / "page.md"
        self.settings = folder / "settings.yaml"
        self.settings.write_text(yaml.safe_dump(SETTINGS))
        self.page.write_text("<!-- ring8: begin -->\n<!-- ring8: end -->\n")

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        own = {"settings": self.settings, "page": self.page, "figures": self.folder / "figures", "runs": self.folder}
        given = [part for name, path in own.items() for part in (f"--{name}", str(path))]
        command = [sys.executable, str(ROOT / "benchmarks" / "results.py"), *given, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def figure(self, entry: str, seed: int) -> dict[str, Any]:
        return json.loads((self.folder / "figures" / "ring8" / f"{entry}-{seed}.json").read_text())


def test_the_page_has_the_figures(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"))
    script = str(ROOT / "benchmarks" / "results.py")
    subprocess.run([sys.executable, script, "--write", "--page", str(page)], check=True)
    assert page.read_text() == PAGE.read_text(encoding="utf-8"), "run: python benchmarks/results.py --write"


@pytest.mark.slow
def test_a_figure_is_made_once_and_a_stopped_run_goes_on(tmp_path: Path) -> None:
    results = Results(tmp_path)
    stopped = results("--losses", "minimax", "--seeds", "0", "--minutes", "0.01")
    assert "goes on" in stopped.stderr, stopped.stderr
    assert not (tmp_path / "figures" / "ring8" / "minimax-0.json").exists()
    before = json.loads((tmp_path / "figures" / "ring8" / "minimax-0.json.tmp").read_text())["cpu_seconds"]
    assert results("--losses", "minimax", "--seeds", "0").returncode == 0
    figure = results.figure("minimax", 0)
    assert figure["cpu_seconds"] > before > 0
    assert figure["images"] == 10_240
    assert set(figure["scores"]) >= {"modes_hit", "good"}
    assert figure["versions"].keys() == {"gandist", "torch", "python"}
    text = results.page.read_text()
    assert "| `minimax` | 0 (not run: 1) |" in text
    assert "| `hinge` | none (not run: 0, 1) |" in text
    # Nothing to do now, and other settings are another figure.
    written = results.figure("minimax", 0)
    assert results("--losses", "minimax", "--seeds", "0").stdout == ""
    assert results.figure("minimax", 0) == written
    changed = {"ring8": {**SETTINGS["ring8"], "overrides": [*SMALL, "train.batch_size=128"]}}
    results.settings.write_text(yaml.safe_dump(changed))
    results("--write")
    assert "| `minimax` | none (not run: 0, 1) |" in results.page.read_text()


@pytest.mark.parametrize("argument", [["--only", "ring9"], ["--losses", "minmax"]])
def test_a_name_that_is_not_there_is_told(tmp_path: Path, argument: list[str]) -> None:
    told = Results(tmp_path)(*argument)
    assert told.returncode == 1
    assert f"{argument[1]}: not in" in told.stderr
