"""What comes from somebody else is refused with the reason: none of it is run, and nothing is written elsewhere."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import hostile
import pytest
import torch
from gandist_datasets.idx import Idx

import gandist
from gandist import CheckpointError, ConfigError
from gandist.cli import main
from gandist.launch import folder as folders
from gandist.tracking import metrics_file
from gandist.training import checkpoint
from gandist.training.state import Progress

RUN = """\
run: {name: run}
dataset: {name: gaussians, count: 1000}
architecture: {name: mlp, width: 8}
loss: non-saturating
train: {images: 64, batch_size: 16, save_every: 2}
cluster: {workers: 0}
tracking: {wandb: {mode: offline, machine: true}}
"""
SECRET = "5ecre7" * 7
"""Looks like a key of W&B, and like nothing else."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with run.yaml and runs/run, trained with a secret in the environment."""
    here = tmp_path_factory.mktemp("trained")
    (here / "run.yaml").write_text(RUN)
    secrets = {"WANDB_API_KEY": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET, "RAY_AUTH_TOKEN": SECRET}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        for name, value in {**secrets, "NETRC": str(here / "none"), "WANDB_CONFIG_DIR": str(here / "w")}.items():
            patch.setenv(name, value)
        assert main(["train", "run.yaml"]) == 0
    return here


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, which its config says is not finished; the working directory is above it."""
    here = tmp_path / "here"
    shutil.copytree(trained, here, symlinks=True)
    monkeypatch.chdir(here)
    (here / "runs" / "run" / "result.json").unlink()
    return here / "runs" / "run"


def newest(run: Path) -> Path:
    return checkpoint.checkpoints(run / "checkpoints")[0]


def test_no_secret_is_in_any_file_of_a_run(trained: Path):
    files = [path for path in (trained / "runs").rglob("*") if path.is_file()]
    assert {"config.yaml", "metrics.jsonl", "manifest.json", "state.pt"} <= {path.name for path in files}
    assert any(path.suffix == ".wandb" for path in files)
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_no_key_of_a_config_holds_a_secret(capsys: pytest.CaptureFixture[str]):
    assert main(["schema"]) == 0
    names: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            names.update(value.get("properties", {}))
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            collect(inner)

    collect(json.loads(capsys.readouterr().out))
    assert "mode" in names
    assert [
        name for name in names if any(word in name for word in ("key", "secret", "token", "passw", "credent"))
    ] == []


@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
def test_a_password_in_a_url_is_refused(dataset: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(RUN)
    assert main(["check", "run.yaml", f"dataset={{name: {dataset}, url: 'https://me:{SECRET}@host/'}}"]) == 2
    said = capsys.readouterr().err
    assert "user or password" in said
    assert SECRET not in said


def test_code_in_a_checkpoint_is_not_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path, marker = newest(run), tmp_path / "executed"
    shutil.rmtree(checkpoint.checkpoints(run / "checkpoints")[1])
    for write in (
        lambda: torch.save({"progress": hostile.Touch(marker)}, path / "state.pt"),
        lambda: (path / "state.pt").write_bytes(pickle.dumps(hostile.Touch(marker))),
    ):
        write()
        hostile.sign(path)
        assert main(["train", "run.yaml", "train.images=96"]) != 0
        assert "state.pt was refused" in capsys.readouterr().err
        assert not marker.exists()


def test_code_in_the_config_of_a_run_is_not_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    marker = tmp_path / "executed"
    evil = f"run: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{marker}']]\n"
    for config in (run / "config.yaml", newest(run) / "config.yaml"):
        config.write_text(evil)
    hostile.sign(newest(run))
    for verb in (
        ["train", "run.yaml"],
        ["sample", "runs/run", "--count", "4", "--out", "a.png"],
        ["check", "evil.yaml"],
    ):
        (run.parents[1] / "evil.yaml").write_text(evil)
        assert main(verb) == 2
        assert "python/object/apply" in capsys.readouterr().err
    assert not marker.exists()


def test_a_run_takes_in_no_other_file(run: Path, tmp_path: Path):
    (tmp_path / "other.yaml").write_text("train: {keep: 3}\n")
    for config in (run / "config.yaml", newest(run) / "config.yaml"):
        config.write_text(f"extends: {tmp_path / 'other.yaml'}\n{config.read_text()}")
    hostile.sign(newest(run))
    with pytest.raises(CheckpointError, match="extends"):
        gandist.load(run)


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "more.bin"])
def test_a_manifest_names_its_own_files_only(run: Path, name: str):
    path = newest(run)
    hostile.sign(path, **{name: {"size": 1, "sha256": ""}})
    found, damaged = checkpoint.newest(path.parent)
    assert found == checkpoint.checkpoints(path.parent)[1]
    assert name in damaged[path]


@pytest.mark.parametrize(
    "content", ["[" * 200_000, "[]", '{"files": 3}', " " * 2_000_000, '{"files": {"state.pt": []}}']
)
def test_a_manifest_of_any_content_is_damage(run: Path, content: str):
    (newest(run) / "manifest.json").write_text(content)
    assert "manifest.json" in str(checkpoint.damage(newest(run)))


def test_a_state_that_unpacks_to_anything_is_refused(run: Path):
    path = newest(run)
    with zipfile.ZipFile(path / "state.pt") as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path / "state.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    hostile.sign(path)
    with pytest.raises(CheckpointError, match="compressed data"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "progress", [{"run_id": "../../x"}, {"run_id": "x\n"}, {"run_id": 3}, {"step": "1"}, {"step": -1}, {"else": 1}]
)
def test_progress_of_no_run_is_refused(run: Path, progress: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    path = newest(run)
    _, state = checkpoint.load(path)
    torch.save({**state, "progress": {**state["progress"], **progress}}, path / "state.pt")
    hostile.sign(path)
    assert main(["train", "run.yaml", "train.images=96"]) != 0
    said = capsys.readouterr().err
    assert "its state is not one of this run" in said
    assert "Traceback" not in said


def test_an_id_of_a_run_is_letters_and_digits():
    assert Progress("0a-1_B").run_id == "0a-1_B"
    with pytest.raises(ValueError, match="letters and digits"):
        Progress("a/b")


def test_a_lock_that_is_a_link_empties_nothing(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    precious = tmp_path / "precious"
    precious.write_text("all my work")
    (run / ".lock").unlink()
    (run / ".lock").symlink_to(precious)
    for arguments in (["train", "run.yaml", "train.images=96"], ["train", "run.yaml", "--fresh"]):
        assert main(arguments) == 2
        assert ".lock" in capsys.readouterr().err or arguments[-1] == "--fresh"
    with pytest.raises(ConfigError), folders.owned(run):
        pass
    assert precious.read_text() == "all my work"


@pytest.mark.parametrize(
    "link", ["samples/step-00000006.png.partial", "metrics.jsonl.partial", "checkpoints", "wandb/x"]
)
def test_links_that_lead_out_of_a_run_are_not_followed(run: Path, tmp_path: Path, link: str, capsys):
    outside = tmp_path / "outside"
    outside.mkdir()
    path = run / link
    if path.is_dir():
        shutil.rmtree(path)
    path.symlink_to(outside)
    assert main(["train", "run.yaml", "train.images=96"]) == 2
    assert f"{link} is a link that leads out" in capsys.readouterr().err
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"steps": "all"}', "[" * 200_000])
def test_a_result_that_no_run_has_written(run: Path, text: str, capsys: pytest.CaptureFixture[str]):
    (run / "result.json").write_text(text)
    assert main(["train", "run.yaml"]) == 2
    assert "result.json: is damaged" in capsys.readouterr().err


def test_a_row_of_any_content_is_left_out(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text("[" * 200_000 + '\n{"step": 1}\n')
    assert metrics_file.read(tmp_path / "metrics.jsonl") == [{"step": 1}]


def test_a_name_leads_nowhere_else(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(RUN)
    for override in ("run.name=../../x", "run.name=/tmp/x", "dataset={name: idx, root: ., images: ../../x}"):
        assert main(["train", "run.yaml", override]) == 2
        assert "x" in capsys.readouterr().err
    with pytest.raises(ValueError, match="leads out of root"):
        Idx(root=".", images="/etc/passwd")
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]
