"""What the model card says that a run does, by what its loss can: nothing is trained here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from test_card import read

from gandist import Facts
from gandist.config.resolve import resolve
from gandist.using.abilities import abilities
from gandist.using.export import export
from gandist.using.trained import Trained

IMAGES, CLASSES, POINTS = Facts((3, 16, 16), 0, 9, "x"), Facts((1, 16, 16), 4, 9, "x"), Facts((4,), 0, 9, "x")
SMALL = {"width": 2, "critic_width": 2, "critic_layers": 1}
RUNS: dict[str, tuple[Facts, dict[str, Any]]] = {
    "cyclegan": (
        IMAGES,
        {
            "dataset": {"name": "unpaired-folders", "root": "x", "size": 16},
            "architecture": {"name": "cyclegan", **SMALL},
            "loss": "cyclegan",
        },
    ),
    "semi-supervised": (
        CLASSES,
        {
            "dataset": {"name": "digits", "size": 16, "labelled": 40},
            "architecture": {"name": "semi-supervised-mlp", "width": 40, "generator_width": 16},
            "loss": "semi-supervised",
        },
    ),
    "classes besides": (
        CLASSES,
        {
            "dataset": {"name": "digits", "size": 16},
            "architecture": {"name": "dcgan", "width": 4, "conditioning": "auxiliary-classifier"},
            "loss": {"name": "hinge", "regularizers": ["auxiliary-classifier"]},
        },
    ),
    "rows": (
        POINTS,
        {
            "dataset": {"name": "table", "root": "rows.csv"},
            "architecture": {"name": "mlp", "width": 8},
            "loss": "nearest-generated",
        },
    ),
    "products": (
        CLASSES,
        {
            "dataset": {"name": "one-class", "of": "digits", "normal": 1},
            "architecture": {"name": "dcgan-encoder", "width": 2},
            "loss": "f-anogan",
        },
    ),
    "samples": (POINTS, {"dataset": "gaussians", "architecture": {"name": "mlp", "width": 8}, "loss": "hinge"}),
}


def untrained(name: str, folder: Path) -> Trained:
    facts, sections = RUNS[name]
    config = resolve({"run": {"name": "some"}, **sections})
    networks = config.architecture.players(facts, 0)
    generator = networks["generator"].eval()
    return Trained(folder, config, facts, 3, generator, networks.__getitem__, tuple(networks))


SAYS = {
    "cyclegan": ["translate RUN IMAGES --to B --out FOLDER", "translate RUN IMAGES --to A --out FOLDER"],
    "semi-supervised": ["classify RUN IMAGES --out classes.csv", "sample RUN --count 16 --out FOLDER"],
    "classes besides": ["sample RUN --count 16 --out FOLDER", "classify RUN IMAGES --out classes.csv"],
    "rows": ["score RUN DATA --out scores.csv", "sample RUN --count 16 --out FOLDER"],
    "products": ["score RUN DATA --out scores.csv", "sample RUN --count 16 --out FOLDER"],
    "samples": ["sample RUN --count 16 --out FOLDER"],
}
TASKS = {
    "cyclegan": "image-to-image",
    "semi-supervised": "image-classification",
    "classes besides": "unconditional-image-generation",
}


@pytest.mark.parametrize("name", RUNS)
def test_the_card_names_the_verbs_for_what_the_run_does(name: str, tmp_path: Path):
    trained = untrained(name, tmp_path)
    export(trained, tmp_path / "g.safetensors")
    front, text = read(tmp_path / "g.md")
    doing = text.partition("## What the run does\n")[2].partition("\n## ")[0]
    assert re.findall(r"`gandist (.*?)`", doing) == SAYS[name]
    assert front.get("pipeline_tag") == TASKS.get(name)
    assert ("anomaly-detection" in front["tags"]) == (SAYS[name][0].startswith("score"))
    for one in abilities(trained):
        assert text.partition("## Intended use\n")[2].count(one.use) == 1
        assert all(text.partition("## Out of scope\n")[2].count(limit) == 1 for limit in one.limits)
        assert one.lacks in doing
        assert ("not in this file" in one.lacks) == bool(one.lacks)
    assert ("It makes" in text.partition("\n## ")[0]) == (name != "cyclegan")
    assert text.count("*Fill in") == 2


def test_the_card_of_a_translator_loads_and_translates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trained = untrained("cyclegan", tmp_path)
    export(trained, tmp_path / "g.safetensors")
    text = (tmp_path / "g.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert "`made` is float32 (4, C, H, W) in [-1, 1]" in text
    assert "samples" not in code
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(code, "g.md", "exec"), found)
    with torch.no_grad():
        expected = trained.generator.to_b(found["images"])  # type: ignore[operator]
    torch.testing.assert_close(found["made"], expected)
