from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
import zoo
from labelled import Labelled
from PIL import Image
from safetensors import safe_open
from torch import nn

from gandist import ConfigError, Facts
from gandist.cli import main
from gandist.config.resolve import resolve
from gandist.training.sampling import draw, to_bytes
from gandist.using.evaluate import evaluate
from gandist.using.export import export
from gandist.using.load import load
from gandist.using.pictures import slerp, write_interpolation, write_samples
from gandist.using.trained import Trained

CPU = torch.device("cpu")


@pytest.fixture
def labelled(digits: Trained) -> Trained:
    facts = Facts((1, 8, 8), 3, 30, "labelled")
    return Trained(Path("labelled"), digits.config, facts, 1, Labelled().eval(), lambda name: nn.Identity())


def test_samples_are_a_function_of_seed_and_index(digits: Trained):
    many = digits.sample(100, seed=1)
    assert many.dtype == torch.uint8
    assert many.float().std() > 10
    assert torch.equal(digits.sample(70, seed=1), many[:70])
    assert torch.equal(digits.sample(30, seed=1, start=64), many[64:94])
    assert not torch.equal(digits.sample(100, seed=2), many)
    # One by one it is another matrix product, which may round a pixel the other way.
    assert (digits.sample(1, seed=1, start=66).int() - many[66:67].int()).abs().max() <= 1


def test_points_are_floats(runs: Path):
    points = load(runs / "ring").sample(10)
    assert points.dtype == torch.float32
    assert points.shape == (10, 2)


def test_truncation_scales_the_latents(digits: Trained):
    latents, _ = draw(digits.generator, 0, 0, 8, 0, CPU)
    assert torch.equal(digits.sample(8, truncation=0.5), to_bytes(digits.generator(latents * 0.5, None)))
    assert torch.equal(digits.sample(8, truncation=1.0), digits.sample(8))
    assert not digits.generator.training
    for wrong in (0.0, 1.5):
        with pytest.raises(ConfigError, match="above 0 and at most 1"):
            digits.sample(8, truncation=wrong)


def test_a_generator_may_truncate_in_its_own_way(digits: Trained):
    generator = zoo.build({"name": "stylegan2", **zoo.NARROW["stylegan2"]}, (1, 16, 16))[0].eval()
    generator.average.copy_(torch.ones(12))
    facts = Facts((1, 16, 16), 0, 30, "styles")
    trained = Trained(Path("styles"), digits.config, facts, 1, generator, lambda name: nn.Identity())
    latents, _ = draw(generator, 0, 0, 8, 0, CPU)
    with torch.no_grad():
        styles = generator.map(latents)
        expected = generator.synthesize(generator.average + 0.3 * (styles - generator.average))
    assert (trained.sample(8, truncation=0.3).int() - to_bytes(expected).int()).abs().max() <= 1
    assert not torch.equal(trained.sample(8, truncation=0.3), trained.sample(8))


def test_labels_reach_a_generator_that_heeds_them(labelled: Trained, tmp_path: Path):
    assert labelled.conditional
    assert labelled.sample(50, label=0).float().mean() < 90 < labelled.sample(50, label=1).float().mean() < 170
    write_samples(labelled, tmp_path / "all.npz", count=90)
    with np.load(tmp_path / "all.npz") as arrays:
        brightness = arrays["images"].mean((1, 2, 3))
        assert set(arrays["labels"].tolist()) == {0, 1, 2}
        for label in range(3):
            assert abs(brightness[arrays["labels"] == label].mean() - 127.5 * (label + 1) / 2) < 20
    write_interpolation(labelled, tmp_path / "walk.png", frames=5, label=2)
    assert np.array(Image.open(tmp_path / "walk.png")).mean() > 170
    with pytest.raises(ConfigError, match="label 3 is not there; labelled knows labels 0 to 2"):
        labelled.sample(1, label=3)


def test_labels_are_refused_by_a_generator_that_heeds_none(digits: Trained):
    assert not digits.conditional
    with pytest.raises(ConfigError, match="knows no labels"):
        digits.sample(1, label=3)


def test_samples_are_written_in_each_form(digits: Trained, tmp_path: Path):
    samples = digits.sample(70, seed=2)
    assert write_samples(digits, tmp_path / "made" / "a.npz", count=70, seed=2)["count"] == 70
    with np.load(tmp_path / "made" / "a.npz") as arrays:
        assert arrays.files == ["images"]
        np.testing.assert_array_equal(arrays["images"], samples.permute(0, 2, 3, 1))
    write_samples(digits, tmp_path / "single", count=70, seed=2)
    files = sorted((tmp_path / "single").iterdir())
    assert len(files) == 70
    np.testing.assert_array_equal(np.array(Image.open(files[69])), samples[69, 0])
    write_samples(digits, tmp_path / "grid.png", count=9, seed=2)
    assert np.array(Image.open(tmp_path / "grid.png")).std() > 10


def test_points_are_written_as_arrays_or_drawn(runs: Path, tmp_path: Path):
    ring = load(runs / "ring")
    write_samples(ring, tmp_path / "p.npz", count=100)
    with np.load(tmp_path / "p.npz") as arrays:
        np.testing.assert_array_equal(arrays["points"], ring.sample(100))
    write_samples(ring, tmp_path / "p.png", count=100)
    assert Image.open(tmp_path / "p.png").size[0] > 100
    with pytest.raises(ConfigError, match=r"points are written as .npz"):
        write_samples(ring, tmp_path / "folder")


def test_what_cannot_be_written_is_said_before_sampling(digits: Trained, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"written as .png, .npz, or into a folder"):
        write_samples(digits, tmp_path / "a.jpeg")
    with pytest.raises(ConfigError, match="a grid holds at most 64"):
        write_samples(digits, tmp_path / "a.png", count=65)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written .*give another --out"):
        write_samples(digits, tmp_path / "file" / "a.npz")
    with pytest.raises(ConfigError, match=r"written as .gif or .png"):
        write_interpolation(digits, tmp_path / "a.mp4")


def test_a_walk_goes_through_its_stops(digits: Trained, tmp_path: Path):
    write_interpolation(digits, tmp_path / "w.gif", seed=3, frames=12, stops=3)
    with Image.open(tmp_path / "w.gif") as gif:
        assert gif.n_frames == 12
    write_interpolation(digits, tmp_path / "w.png", seed=3, frames=4, stops=4)
    strip = np.array(Image.open(tmp_path / "w.png").convert("L")).astype(int)
    # 28 pixels a side, drawn twice as large within a border of 2: as many frames as stops show the stops themselves.
    frames = strip[2:-2:2, 2:-2:2].reshape(28, 4, 28).transpose(1, 0, 2)
    assert np.abs(frames - digits.sample(4, seed=3)[:, 0].numpy()).max() <= 1


def test_slerp_stays_on_the_sphere():
    a, b = torch.nn.functional.normalize(torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0)), dim=2)
    middle = slerp(a, b, 0.5)
    torch.testing.assert_close(middle.norm(dim=1), torch.ones(5))
    torch.testing.assert_close((middle * a).sum(1), (middle * b).sum(1))
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    torch.testing.assert_close(slerp(a, 2 * a, 0.5), 1.5 * a)
    assert torch.isfinite(slerp(a, -a, 0.3)).all()


def test_exported_weights_carry_config_and_facts(digits: Trained, tmp_path: Path):
    export(digits, tmp_path / "g.safetensors")
    with safe_open(tmp_path / "g.safetensors", "pt") as file:
        about = file.metadata()
        for name, tensor in digits.generator.state_dict().items():
            assert torch.equal(file.get_tensor(name), tensor)
    assert resolve(yaml.safe_load(about["config"])) == digits.config
    assert json.loads(about["facts"])["shape"] == [1, 28, 28]
    assert about["step"] == "20"


@pytest.mark.parametrize("batch", [1, 5])
def test_an_exported_program_does_what_the_generator_does(digits: Trained, tmp_path: Path, batch: int):
    export(digits, tmp_path / "g.pt2")
    latents, _ = draw(digits.generator, 4, 0, batch, 0, CPU)
    images = torch.export.load(tmp_path / "g.pt2").module()(latents)
    assert images.std() > 0.1
    torch.testing.assert_close(images, digits.generator(latents, None), atol=1e-5, rtol=0)


def test_exported_onnx_does_what_the_generator_does(digits: Trained, labelled: Trained, tmp_path: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    for trained, names in ((digits, ["latents"]), (labelled, ["latents", "labels"])):
        export(trained, tmp_path / "g.onnx")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["g.md", "g.onnx"]
        session = onnxruntime.InferenceSession(tmp_path / "g.onnx")
        assert [entry.name for entry in session.get_inputs()] == names
        for batch in (1, 7):
            latents, labels = draw(trained.generator, 4, 0, batch, trained.facts.classes, CPU)
            inputs = {"latents": latents.numpy(), "labels": labels.numpy()}
            (images,) = session.run(["images"], {name: inputs[name] for name in names})
            with torch.no_grad():
                expected = trained.generator(latents, labels)
            assert expected.std() > 0.1
            np.testing.assert_allclose(images, expected.numpy(), atol=1e-4)


def test_export_says_what_is_missing(digits: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match=r"exported as .safetensors, .onnx, .pt2"):
        export(digits, tmp_path / "g.h5")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r'needs .*pip install "gandist\[onnx\]"'):
        export(digits, tmp_path / "g.onnx")


def test_written_samples_score_as_the_run_does(runs: Path, digits: Trained, tmp_path: Path):
    run = runs / "digits"
    own = evaluate(run, metrics=["frechet", "classes"], count=70, against=run, seed=6)
    assert own["protocol"] | {"count": 70, "seed": 6, "step": 20, "features": "classifier"} == own["protocol"]
    assert own["protocol"]["classifier_accuracy"] >= 0.97
    scores = {name: value for name, value in own.items() if isinstance(value, float)}
    assert {name: own["against"][name] for name in scores} == scores
    for out in ("made.npz", "made"):
        write_samples(digits, tmp_path / out, count=70, seed=6)
        theirs = evaluate(run, metrics=["frechet", "classes"], images=tmp_path / out)
        assert {name: theirs[name] for name in scores} == pytest.approx(scores)


def test_every_result_says_by_which_protocol(runs: Path):
    metrics = ["kid", {"name": "recall", "neighbours": 4}, "spectral", "classes"]
    found = evaluate(runs / "digits", metrics=metrics, features={"name": "pixels", "size": 14}, count=80, seed=3)
    protocol = found.pop("protocol")
    assert protocol["metrics"] == {
        "kid": {"features": "pixels"},
        "recall": {"features": "pixels", "neighbours": 4},
        "spectral": {},
        "classes": {"features": "classifier"},
    }
    assert (protocol["features"], protocol["size"], protocol["reference_count"]) == ("pixels", 14, 898)
    assert (protocol["count"], protocol["seed"], protocol["step"]) == (80, 3, 20)
    assert "half" in protocol["split"]
    assert re.fullmatch("[0-9a-f]{64}", protocol["spaces"]["classifier"]["weights_sha256"])
    assert {"kid", "kid_error", "kid_real", "recall", "recall_real", "spectral", "confident_real"} <= found.keys()
    # A generator of twenty steps is far from the digits, and the digits are near.
    assert found["kid"] > 10 * abs(found["kid_real"])
    assert found["recall"] < 0.5 < found["recall_real"]
    points = evaluate(runs / "ring", metrics=["frechet", "coverage"], features="pixels", count=300)
    assert points["coverage_real"] > 0.1 > points["coverage"]


def test_figures_of_the_command_line(runs: Path, capsys: pytest.CaptureFixture[str]):
    given = ["--metrics", "[spectral, {name: density, neighbours: 2}]", "--features", "pixels", "--count", "60"]
    assert main(["evaluate", str(runs / "digits"), *given, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["protocol"]["metrics"]["density"] == {"features": "pixels", "neighbours": 2}
    assert main(["evaluate", str(runs / "digits"), "--features", "{name: pixels", "--json"]) == 2
    assert "--features {name: pixels: is no YAML" in capsys.readouterr().err


def test_real_images_score_better_than_a_generator_of_twenty_steps(runs: Path, digits: Trained, tmp_path: Path):
    real = digits.config.dataset.open().read(range(300))["real"].permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "real.npz", images=real)
    theirs = evaluate(runs / "digits", images=tmp_path / "real.npz")
    assert theirs["frechet"] < 3 * theirs["frechet_real"]
    assert theirs["frechet"] < 0.1 * evaluate(runs / "digits", count=300)["frechet"]


def test_what_cannot_be_scored(runs: Path, tmp_path: Path):
    run = runs / "digits"
    with pytest.raises(
        ConfigError, match=r"features +unknown extractor 'inception'; .*installed: classifier, dinov2, inception"
    ):
        evaluate(run, features="inception")
    with pytest.raises(ConfigError, match=r"metrics.0 +unknown metric 'kit'; did you mean 'kid'"):
        evaluate(run, metrics=["kit"])
    with pytest.raises(ConfigError, match=r"metrics.0.neighbours +should be at least 1, is 0"):
        evaluate(run, metrics=[{"name": "recall", "neighbours": 0}])
    with pytest.raises(ConfigError, match="nothing here takes weights; ask for --features inception-v3-tf"):
        evaluate(run, weights=tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"there is no .*w.pth; .*--weights FILE"):
        evaluate(run, metrics=["fid"], weights=tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="frechet gives frechet, which another metric of the list gives"):
        evaluate(run, metrics=["frechet", "frechet"])
    with pytest.raises(ConfigError, match="inception-score cannot be used: pixels knows no classes"):
        evaluate(run, metrics=["inception-score"], features="pixels")
    with pytest.raises(ConfigError, match="stacked-modes needs the data set stacked"):
        evaluate(run, metrics=["stacked-modes"])
    with pytest.raises(ConfigError, match="needs images, the data set has points; use modes"):
        evaluate(runs / "ring")
    with pytest.raises(ConfigError, match=r"makes samples of shape \(2,\)"):
        evaluate(run, against=runs / "ring")
    with pytest.raises(ConfigError, match="no such folder of images"):
        evaluate(run, images=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"at least 2 images .*there are 0"):
        evaluate(run, images=tmp_path)
    for number in range(2):
        Image.new("RGB", (30, 28)).save(tmp_path / f"{number}.png")
    with pytest.raises(ConfigError, match=r"0.png: has channels, height and width \(1, 28, 30\), the run's data"):
        evaluate(run, images=tmp_path)
    (tmp_path / "1.png").write_text("no picture")
    Image.new("L", (28, 28)).save(tmp_path / "0.png")
    with pytest.raises(ConfigError, match=r"1.png: not a readable image"):
        evaluate(run, images=tmp_path)
    np.savez(tmp_path / "x.npz", other=np.zeros(3))
    with pytest.raises(ConfigError, match=r"not an .npz with `images`"):
        evaluate(run, images=tmp_path / "x.npz")
