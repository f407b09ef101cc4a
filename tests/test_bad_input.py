"""What users get wrong: exit code 2, a message with the place and the way out, no traceback, nothing written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mistakes import CASES, GOOD, Case
from PIL import Image

from gandist.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANDIST_CACHE", str(tmp_path / "cache"))
    (tmp_path / "good.yaml").write_text(GOOD)
    return tmp_path


def write(folder: Path, case: Case) -> None:
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for number in range(case.images):
        (folder / "pictures").mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), (number, 0, 0)).save(folder / "pictures" / f"{number}.png")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_mistake_is_told_and_nothing_is_written(case: Case, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here, case)
    before = sorted(here.rglob("*"))
    code = main(["train", *case.arguments])
    printed = capsys.readouterr()
    assert code == 2, printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    for part in case.says:
        assert part in printed.err
    assert sorted(here.rglob("*")) == before


def test_there_are_more_than_thirty_kinds() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 30


def test_all_problems_at_once_with_aligned_paths(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bad.yaml").write_text(
        "dataset: {name: cifar}\narchitecture: {name: mlp}\n"
        "loss: {name: wgan-gp, gp_wieght: 3}\ntrain: {images: none, keep: 0}\n"
    )
    assert main(["check", "bad.yaml"]) == 2
    head, *lines = capsys.readouterr().err.rstrip("\n").split("\n")
    assert head == "bad.yaml: 4 problems"
    assert lines[1] == (
        "  loss.gp_wieght   unknown key; did you mean gp_weight? wgan-gp takes: d_steps, gp_weight, regularizers"
    )
    assert lines[0].startswith(
        "  dataset.name     unknown dataset 'cifar'; did you mean 'cifar10'? installed: cifar10, "
    )
    assert lines[0].endswith("  (gandist plugins)")
    assert lines[2:] == [
        "  train.images     should be a whole number, is 'none'",
        "  train.keep       should be at least 1, is 0",
    ]


def test_a_gpu_where_there_is_none(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    import torch

    if torch.cuda.device_count():
        pytest.skip("this machine has a GPU")
    assert main(["train", "good.yaml", "cluster.gpu=true"]) == 2
    message = capsys.readouterr().err
    assert "cluster.gpu" in message
    assert "has 0" in message
    assert not (here / "runs").exists()


def test_an_existing_run_with_another_config(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gandist.config.compose import compose
    from gandist.config.resolve import resolve
    from gandist.config.yaml import write_yaml

    folder = here / "runs" / "good"
    folder.mkdir(parents=True)
    config = resolve(compose("good.yaml", ["train.batch_size=32"])).model_dump(mode="json")
    (folder / "config.yaml").write_text(write_yaml(config))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main(["train", "good.yaml"]) == 2
    message = capsys.readouterr().err
    assert "train.batch_size: 32 → 16" in message
    assert "--fresh" in message
    assert "run.name" in message
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_is_no_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "runs" / "good").mkdir(parents=True)
    (here / "runs" / "good" / "thesis.txt").write_text("precious")
    assert main(["train", "good.yaml"]) == 2
    assert "is not the folder of a run" in capsys.readouterr().err
    assert [path.name for path in (here / "runs" / "good").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sample", "nowhere", "--out", "a.png"], "nowhere"),
        (["sample", "good.yaml", "--out", "a.png"], "good.yaml"),
        (["export", "nowhere", "--out", "a.onnx"], "nowhere"),
        (["interpolate", "nowhere", "--out", "a.gif"], "nowhere"),
        (["evaluate", "nowhere"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["evaluate", "nowhere", "--metrics", "a,,b"], "--metrics a,,b: write names with commas"),
        (["plugins", "wgangp"], "did you mean wgan-gp?"),
        (["plugins", "new"], "gandist plugins new DIR"),
        (["train"], "CONFIG"),
        (["trian", "good.yaml"], "trian"),
        (["sample", "nowhere", "--out", "a.png", "--count", "0"], "--count"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_other_verbs(arguments: list[str], says: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(here.rglob("*"))
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert "Traceback" not in printed.err
    assert sorted(here.rglob("*")) == before


def test_the_command_itself_ends_with_2_and_no_traceback(here: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "gandist", "train", "good.yaml", "train.bach_size=3"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("good.yaml: 1 problem\n  train.bach_size   unknown key; did you mean batch_size?")
    assert "Traceback" not in ended.stderr
