"""Every file of generated images says that it is synthetic, unless it was asked not to."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import gandist
from gandist.cli import main
from gandist.tracking.provenance import Provenance, metadata
from gandist.training import checkpoint
from gandist.using.load import load
from gandist.using.trained import Trained

IPTC, XMP = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}", "{http://ns.adobe.com/xap/1.0/}"
OURS, RDF = "{urn:gandist:provenance:}", "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
TERM, COMPOSITE = (
    f"http://cv.iptc.org/newscodes/digitalsourcetype/{name}"
    for name in ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")
)


def packet(path: Path) -> dict[str, str]:
    """The properties in a file's XMP packet."""
    with Image.open(path) as image:
        content: Any = image.info["xmp"] if "xmp" in image.info else image.info["XML:com.adobe.xmp"]
    root = ElementTree.fromstring(content if isinstance(content, str) else content.decode())
    (description,) = root.iter(f"{RDF}Description")
    return dict(description.attrib)


def texts(path: Path) -> dict[str, Any]:
    with Image.open(path) as image:
        return dict(image.info)


def require_synthetic(path: Path, term: str = TERM, **entries: str) -> None:
    told = texts(path)
    assert told["DigitalSourceType"] == term
    assert told["Software"] == f"gandist {gandist.__version__}"
    assert "ynthetic" in told["Description"]
    found = packet(path)
    assert found[f"{IPTC}DigitalSourceType"] == term
    assert found[f"{XMP}CreatorTool"] == f"gandist {gandist.__version__}"
    for name, value in {"name": "digits", "run": "local", **entries}.items():
        assert told[f"gandist:{name}"] == value
        assert found[f"{OURS}{name}"] == value


def test_a_checkpoint_tells_which_run_it_is_of(digits: Trained, runs: Path):
    newest = runs / "digits" / "checkpoints" / "step-00000020"
    assert checkpoint.manifest(newest)["run_id"] == "local"
    assert digits.about == {"run_id": "local", "images": 640, "versions": {}}
    assert load(newest).about == digits.about


def test_samples_say_that_they_are_synthetic(runs: Path, tmp_path: Path):
    run = str(runs / "digits")
    assert main(["sample", run, "--count", "4", "--seed", "3", "--out", str(tmp_path / "grid.png")]) == 0
    require_synthetic(tmp_path / "grid.png", seed="3", step="20")
    assert main(["sample", run, "--count", "2", "--seed", "3", "--out", str(tmp_path / "single")]) == 0
    require_synthetic(tmp_path / "single" / "000001.png", seed="3", index="1")
    assert main(["interpolate", run, "--frames", "3", "--stops", "2", "--out", str(tmp_path / "strip.png")]) == 0
    require_synthetic(tmp_path / "strip.png", seed="0")


def test_sheets_and_animations_say_so_too(runs: Path, tmp_path: Path):
    run = str(runs / "digits")
    assert main(["interpolate", run, "--frames", "3", "--stops", "2", "--out", str(tmp_path / "walk.gif")]) == 0
    given = ["--psi", "0.5,1", "--samples", "1", "--seed", "2"]
    assert main(["interpret", run, "truncation", *given, "--out", str(tmp_path / "truncation.gif")]) == 0
    for name, seed in (("walk.gif", "0"), ("truncation.gif", "2")):
        said = texts(tmp_path / name)["comment"].decode()
        assert f"DigitalSourceType: {TERM}\n" in said
        assert f"gandist:run: local\ngandist:name: digits\ngandist:step: 20\ngandist:seed: {seed}" in said
    assert main(["interpret", run, "truncation", *given, "--out", str(tmp_path / "truncation.png")]) == 0
    require_synthetic(tmp_path / "truncation.png", seed="2")
    given = ["--count", "1", "--samples", "1", "--steps", "2"]
    assert main(["interpret", run, "factors", *given, "--out", str(tmp_path / "factors.png")]) == 0
    require_synthetic(tmp_path / "factors.png")
    # Real images stand beside the generated ones.
    given = ["--count", "1", "--nearest", "1"]
    assert main(["interpret", run, "neighbours", *given, "--out", str(tmp_path / "near.png")]) == 0
    require_synthetic(tmp_path / "near.png", COMPOSITE)


VERBS = {
    "grid.png": ["sample", "RUN", "--count", "2"],
    "folder": ["sample", "RUN", "--count", "2"],
    "walk.gif": ["interpolate", "RUN", "--frames", "3", "--stops", "2"],
    "factors.png": ["interpret", "RUN", "factors", "--count", "1", "--steps", "2"],
    "truncation.png": ["interpret", "RUN", "truncation", "--psi", "1", "--samples", "1"],
    "near.png": ["interpret", "RUN", "neighbours", "--count", "1", "--nearest", "1"],
}


@pytest.mark.parametrize("out", VERBS)
def test_metadata_can_be_left_out(runs: Path, tmp_path: Path, out: str):
    given = [str(runs / "digits") if word == "RUN" else word for word in VERBS[out]]
    assert main([*given, "--no-metadata", "--out", str(tmp_path / out)]) == 0
    written = tmp_path / out / "000000.png" if out == "folder" else tmp_path / out
    told = texts(written)
    assert not {"comment", "xmp", "XML:com.adobe.xmp", "DigitalSourceType", "Software"} & told.keys()
    assert b"gandist" not in written.read_bytes()


def test_pixels_stay_what_they_were(digits: Trained, runs: Path, tmp_path: Path):
    run = str(runs / "digits")
    for name, how in (("with", []), ("without", ["--no-metadata"])):
        assert main(["sample", run, "--count", "1", *how, "--out", str(tmp_path / name)]) == 0
    one, other = (Image.open(tmp_path / name / "000000.png").tobytes() for name in ("with", "without"))
    assert one == other == digits.sample(1).numpy().tobytes()


def test_grids_of_a_run_say_so(digits: Trained, tmp_path: Path):
    from gandist.tracking.grids import GridWriter
    from gandist.training.run import RunView

    view = RunView("a1b2", "digits", tmp_path, digits.config, digits.facts, 1, None)
    GridWriter().gandist_on_samples(view, 7, torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    require_synthetic(tmp_path / "samples" / "step-00000007.png", run="a1b2", step="7", seed="0")


def test_any_name_makes_a_packet_that_parses(tmp_path: Path):
    odd = 'T-shirt/top "<&>" \x01 Kätzchen 猫'
    about = Provenance(None, "r", 1, more={"class": odd})
    for form in ("PNG", "WEBP"):
        path = tmp_path / f"x.{form.lower()}"
        Image.new("L", (4, 4)).save(path, format=form, **metadata(about, form))
        found = packet(path)
        assert found[f"{OURS}class"] == odd.replace("\x01", "?")
        assert f"{OURS}run" not in found
    assert texts(tmp_path / "x.png")["gandist:class"] == odd.replace("\x01", "?")
