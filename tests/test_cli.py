"""The command line: what it prints where, and with which exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import gandist
from gandist.cli import main
from gandist.contract import discovery

CONFIG = """\
dataset: {name: digits, size: 32}
architecture: {name: dcgan, width: 4, norm: none}
loss: {name: wgan-gp, d_steps: 2}
train: {images: 1000, batch_size: 16}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(CONFIG)
    return tmp_path


def test_help_needs_neither_torch_nor_ray() -> None:
    script = (
        "import sys; from gandist.cli import main; code = main(['train', '--help']) or main(['--help'])\n"
        "heavy = {'torch', 'ray', 'wandb'} & set(sys.modules)\n"
        "sys.exit(code or (f'imported {heavy}' if heavy else 0))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    for verb in ["train", "check", "config", "schema", "plugins", "sample", "evaluate", "export", "doctor"]:
        assert f"\n  {verb} " in ended.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{gandist.__version__}\n"


def test_check(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(here.rglob("*"))
    assert main(["check", "small.yaml", "--json", "cluster.workers=2"]) == 0
    told = json.loads(capsys.readouterr().out)
    facts = {"name": "digits", "samples": 1797, "shape": [1, 32, 32], "classes": 10, "elsewhere": 0}
    assert told["dataset"] == facts
    assert told["turns"] == ["discriminator", "discriminator", "generator"]
    assert (told["images_per_step"], told["steps"], told["workers"]) == (32, 32, 2)
    assert told["parameters"].keys() == {"generator", "discriminator"}
    assert main(["check", "small.yaml"]) == 0
    assert "1,797 samples of 1×32×32, 10 classes" in capsys.readouterr().out
    assert sorted(here.rglob("*")) == before


def test_check_warns_on_stderr(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "small.yaml", "architecture.norm=batch", "--json"]) == 0
    assert "batch norm" in json.loads(capsys.readouterr().out)["warnings"][0]
    assert main(["check", "small.yaml", "architecture.norm=batch"]) == 0
    assert capsys.readouterr().err.startswith("warning: wgan-gp: the discriminator has batch norm")


@pytest.mark.parametrize(
    "overrides", [[], ["dataset={name: gaussians, count: 1000}", "architecture={name: mlp, width: 4}"]]
)
def test_check_draws_the_first_batch(overrides: list[str], here: Path) -> None:
    assert main(["check", "small.yaml", *overrides, "--show", "out/batch.png"]) == 0
    with Image.open(here / "out" / "batch.png") as image:
        assert image.format == "PNG"
        extrema = image.convert("L").getextrema()
    assert extrema[0] < 64 < 192 < extrema[1]


def test_config_as_yaml_and_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "small.yaml", "train.images=5"]) == 0
    text = capsys.readouterr().out
    assert any(line.split() == ["images:", "5", "#", "command", "line"] for line in text.splitlines())
    assert any(line.split() == ["d_steps:", "2", "#", "small.yaml:3"] for line in text.splitlines())
    assert main(["config", "small.yaml", "train.images=5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"]["train"]["images"] == 5
    assert told["origin"]["train.images"] == "command line"
    assert told["origin"]["run.name"] == "name of the file"
    assert told["origin"]["train.keep"] == "default"


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_plugins_lists_whole_names_also_when_piped(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    long = "a-distribution-whose-name-is-much-longer-than-a-terminal-is-wide-" * 2
    plugin = discovery.Plugin("other", long, "1.0", "other", error="ImportError: no module named 'else'")
    real = discovery.installed()
    registry = discovery.Registry([*real.plugins, plugin], real.manager, real.by_name)
    monkeypatch.setattr(discovery, "installed", lambda: registry)
    assert main(["plugins"]) == 0
    printed = capsys.readouterr()
    assert long in printed.out
    assert "ImportError: no module named 'else'" in printed.out
    assert "minimax (vanilla)" in printed.out
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("warning: plugins that could not be loaded: other of ")
    assert main(["plugins", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"losses", "architectures", "datasets", "optimizers", "tracking", "other"} <= {p["name"] for p in listed}


def test_plugins_describes_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "wgan-gp"]) == 0
    text = capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if line.startswith("d_steps")]
    assert "a whole number" in line
    assert " 5 " in line
    assert "≥ 1" in line
    assert main(["plugins", "vanilla", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "minimax"


def test_a_broken_plugin_is_named_as_the_likely_cause(here: Path, capsys, monkeypatch) -> None:
    plugin = discovery.Plugin("mine", "my-losses", "1.0", "mine", error="ImportError: no module named 'else'")
    real = discovery.installed()
    registry = discovery.Registry([*real.plugins, plugin], real.manager, real.by_name)
    monkeypatch.setattr(discovery, "installed", lambda: registry)
    assert main(["check", "small.yaml", "loss=mine"]) == 2
    error = capsys.readouterr().err
    assert "perhaps it belongs to a plugin that could not be loaded (mine of my-losses: ImportError" in error


def test_a_run_error_exits_with_1_and_an_interrupt_with_130(here: Path, capsys, monkeypatch) -> None:
    import gandist.launch.run

    def fails(error: BaseException):
        def run(composed, *, address=None, fresh=False, profile=None):
            raise error

        return run

    monkeypatch.setattr(gandist.launch.run, "run", fails(gandist.RunError("step 3: loss is NaN")))
    assert main(["train", "small.yaml"]) == 1
    assert capsys.readouterr().err == "step 3: loss is NaN\n"
    monkeypatch.setattr(gandist.launch.run, "run", fails(gandist.CheckpointError("damaged")))
    assert main(["train", "small.yaml"]) == 2
    monkeypatch.setattr(gandist.launch.run, "run", fails(KeyboardInterrupt()))
    assert main(["train", "small.yaml"]) == 130
    monkeypatch.setattr(gandist.launch.run, "run", fails(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["train", "small.yaml"])


def test_train_passes_on_its_options(here: Path, capsys, monkeypatch) -> None:
    import gandist.launch.run as launch

    got: dict = {}

    def run(composed, *, address=None, fresh=False, profile=None):
        asked = (profile.first, profile.count)
        got.update(workers=composed.mapping["cluster"]["workers"], address=address, fresh=fresh, profile=asked)
        return launch.Outcome(3, {"steps": 4, "metrics": {"frechet": 1.5}}, Path("runs/small"), "stopped at step 4")

    monkeypatch.setattr(launch, "run", run)
    command = ["train", "small.yaml", "train.keep=1", "--workers", "1..4", "--address", "a:1", "--fresh", "--json"]
    assert main([*command, "--profile", "20:30"]) == 3
    assert got == {"workers": "1..4", "address": "a:1", "fresh": True, "profile": (20, 10)}
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {
        "run": "runs/small",
        "code": 3,
        "steps": 4,
        "metrics": {"frechet": 1.5},
    }
    assert printed.err == "stopped at step 4\n"


def test_python_m_gandist(here: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "gandist", "config", "small.yaml", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["config"]["loss"]["d_steps"] == 2
