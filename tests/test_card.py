"""The model card that export writes beside its file."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from gandist import ConfigError
from gandist.cli import main
from gandist.training.sampling import draw
from gandist.using.card import MARK
from gandist.using.export import export
from gandist.using.load import load
from gandist.using.trained import Trained


def read(path: Path) -> tuple[dict[str, Any], str]:
    """Front matter and text."""
    _, front, text = path.read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), text


@pytest.fixture
def scored(runs: Path, tmp_path: Path) -> Path:
    """A finished run with scores."""
    run = Path(shutil.copytree(runs / "digits", tmp_path / "digits"))
    result = {"metrics": {"frechet": 12.5, "frechet_real": 0.25}, "images": 640, "steps": 20}
    (run / "result.json").write_text(json.dumps(result))
    return run


def test_a_card_says_what_the_generator_is(scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["export", str(scored), "--out", str(tmp_path / "g.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["card"] == str(tmp_path / "g.md")
    front, text = read(tmp_path / "g.md")
    assert front["license"] == "cc-by-4.0"
    assert front["library_name"] == "gandist"
    assert front["pipeline_tag"] == "unconditional-image-generation"
    assert {"gan", "mlp-conv", "non-saturating"} <= set(front["tags"])
    (result,) = front["model-index"][0]["results"]
    assert result["dataset"] == {"name": "digits", "type": "digits"}
    assert {entry["type"]: entry["value"] for entry in result["metrics"]} == {"frechet": 12.5, "frechet_real": 0.25}
    for heading in ("Intended use", "Out of scope", "Data", "Scores", "How to load it", "Training"):
        assert f"\n## {heading}\n" in text
    assert "| Fréchet distance | 12.500 (real against real 0.250) |" in text
    assert "| samples | 1,797 |" in text
    assert "| images seen | 640 |" in text
    assert "| run id | `local` |" in text
    assert "count: 100" in text
    pieces = [yaml.safe_load(piece) for piece in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    assert pieces[-1] == load(scored).config.model_dump(mode="json")


def test_a_card_gives_no_score_of_another_step(scored: Path, tmp_path: Path):
    export(load(scored / "checkpoints" / "step-00000010"), tmp_path / "g.safetensors")
    front, text = read(tmp_path / "g.md")
    assert "model-index" not in front
    assert "None are kept of step 10" in text
    assert "| images seen | 320 |" in text


def test_a_licence_that_is_not_known_is_to_be_filled_in(runs: Path, tmp_path: Path):
    export(load(runs / "ring"), tmp_path / "g.safetensors")
    front, text = read(tmp_path / "g.md")
    assert front["license"] == "unknown"
    assert "| licence | unknown: fill in |" in text
    assert "pipeline_tag" not in front


@pytest.mark.parametrize("name", ["g.safetensors", "g.pt2", "g.onnx"])
def test_a_card_loads_its_file(digits: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    if name == "g.onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    export(digits, tmp_path / name)
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "g.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(code, "g.md", "exec"), found)
    made = torch.as_tensor(found["made"])
    assert made.shape == (4, 1, 28, 28)
    if name == "g.safetensors":
        assert torch.equal(made, digits.sample(4))
    latents, _ = draw(digits.generator, 0, 0, 2, 0, digits.device)
    assert f"(B, {latents.shape[1]})" in (tmp_path / "g.md").read_text() or name == "g.safetensors"


def test_an_edited_card_is_kept(digits: Trained, tmp_path: Path):
    export(digits, tmp_path / "g.safetensors")
    card = tmp_path / "g.md"
    written = card.read_text()
    card.write_text(written.replace("# digits", "# old"))
    assert export(digits, tmp_path / "g.safetensors")["card"] == str(card)
    assert card.read_text() == written
    card.write_text("# mine")
    assert "is kept, since somebody has edited it" in export(digits, tmp_path / "g.safetensors")["card"]
    assert card.read_text() == "# mine"
    assert MARK in written
    card.unlink()
    card.mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        export(digits, tmp_path / "g.safetensors")
