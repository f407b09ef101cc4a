"""Runs that begin with players of another run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import train_on_ranks
from safetensors.torch import load_file
from typer.testing import CliRunner

from gandist.cli.verbs import app

STEPS = 6


def config(half_life: int = 50, **more: Any) -> dict[str, Any]:
    train = {"images": 8 * STEPS, "batch_size": 8, "save_every": 3, "sample_every": 0, "keep": 9}
    return {
        "run": {"name": "second", "seed": 1},
        "dataset": {"name": "gaussians", "count": 200},
        "architecture": {"name": "mlp", "width": 8, "depth": 2, "latent": 4},
        "loss": {"name": "non-saturating"},
        "train": {**train, "ema": {"half_life": half_life, "ramp_up": 0.0}},
        **more,
    }


def trained(folder: Path, step: int = STEPS) -> dict[str, torch.Tensor]:
    """All weights in a checkpoint of a run."""
    assert not list(folder.glob("error-*.txt")), (folder / "error-0.txt").read_text()
    return load_file(folder / "checkpoints" / f"step-{step:08d}" / "networks.safetensors")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "first"
    train_on_ranks(1, [{"config": config(run={"name": "first", "seed": 0}), "folder": str(folder)}])
    return folder


def below(tensors: dict[str, torch.Tensor], player: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{player}."): t for name, t in tensors.items() if name.startswith(f"{player}.")}


def test_a_run_begins_with_the_players_of_another(first: Path, tmp_path: Path):
    """With steps so small that nothing moves: what it holds after them is what it began with."""
    plain = {role: {"name": "sgd", "lr": 1e-30} for role in ("generator", "discriminator")}
    still: dict[str, Any] = {"optimizer": plain, "half_life": 10**12}
    given = {"all": {}, "one": {"players": ["discriminator"]}}
    for name, more in given.items():
        spec = {"config": config(start={"from": str(first), **more}, **still), "folder": str(tmp_path / name)}
        train_on_ranks(1, [spec])
    theirs, mine, one = trained(first), trained(tmp_path / "all"), trained(tmp_path / "one")
    for player in ("generator", "discriminator", "smoothed"):
        for name, tensor in below(theirs, player).items():
            torch.testing.assert_close(below(mine, player)[name], tensor)
    assert torch.equal(one["discriminator.body.0.weight"], theirs["discriminator.body.0.weight"])
    assert not torch.equal(one["generator.body.0.weight"], theirs["generator.body.0.weight"])
    early = first / "checkpoints" / "step-00000003"
    train_on_ranks(1, [{"config": config(start={"from": str(early)}, **still), "folder": str(tmp_path / "early")}])
    assert torch.equal(
        trained(tmp_path / "early")["generator.body.0.weight"], trained(first, 3)["generator.body.0.weight"]
    )


def test_frozen_parts_stay_and_the_rest_moves(first: Path, tmp_path: Path):
    start = {"from": str(first), "freeze": ["discriminator.body.0", "generator.body.2.bias"]}
    train_on_ranks(1, [{"config": config(start=start), "folder": str(tmp_path / "run")}])
    theirs, mine = trained(first), trained(tmp_path / "run")
    same = {n for n in mine if n.startswith(("generator.", "discriminator.")) and torch.equal(mine[n], theirs[n])}
    assert same == {"discriminator.body.0.weight", "discriminator.body.0.bias", "generator.body.2.bias"}


def test_it_goes_on_bit_for_bit_without_the_run_that_it_began_with(first: Path, tmp_path: Path):
    start = {"from": str(tmp_path / "moved"), "freeze": ["discriminator.body.0"]}
    shutil.copytree(first, tmp_path / "moved")
    spec = {"config": config(start=start), "folder": str(tmp_path / "straight")}
    train_on_ranks(1, [spec])
    shutil.copytree(tmp_path / "straight", tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "checkpoints" / f"step-{STEPS:08d}")
    shutil.rmtree(tmp_path / "moved")
    train_on_ranks(1, [{**spec, "folder": str(tmp_path / "again")}])
    straight, again = trained(tmp_path / "straight"), trained(tmp_path / "again")
    assert all(torch.equal(straight[name], again[name]) for name in straight)


@pytest.mark.slow
def test_two_ranks_begin_and_freeze_as_one_does(first: Path, tmp_path: Path):
    start = {"from": str(first), "freeze": ["discriminator.body.0"]}
    plain = {role: {"name": "sgd", "lr": 0.1} for role in ("generator", "discriminator")}
    spec = {"config": config(start=start, optimizer=plain), "dtype": "fp64"}
    for world in (1, 2):
        train_on_ranks(world, [{**spec, "folder": str(tmp_path / str(world))}])
    one, two = trained(tmp_path / "1"), trained(tmp_path / "2")
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ("{from: frist}", "start.from: there is no run {place}/frist; did you mean first?"),
        ("{from: .}", "start.from: {place}: it has no checkpoint"),
        ("{from: first, players: [genrator]}", "start.players: this run has no genrator; did you mean generator?"),
        ("{from: first, freeze: [critic]}", "start.freeze: there is no player critic"),
        ("{from: first, freeze: [discriminator.boddy]}", "start.freeze: the discriminator has no parameter boddy"),
        ("{from: first, freeze: [generator]}", "start.freeze: all of the generator is frozen"),
        ("{from: 's3://bucket/run'}", "s3://bucket/run is a URL"),
        ("{players: [generator]}", "start"),
    ],
)
def test_what_cannot_be_begun_with_is_named(
    first: Path, monkeypatch: pytest.MonkeyPatch, start: str, says: str, tmp_path: Path
):
    (tmp_path / "first").symlink_to(first)
    code, said = command(tmp_path, monkeypatch, f"start={start}")
    assert code == 2
    assert says.replace("{place}", str(tmp_path)) in said
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_a_tensor_of_another_shape_is_named(first: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    code, said = command(tmp_path, monkeypatch, f"start={{from: {first}}}", "architecture.width=6")
    assert code == 2
    assert "start.players: generator.body.0.weight has shape (6, 4) here and (8, 4) in" in said


def command(place: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> tuple[int, str]:
    """Exit code and text of `gandist train` there, in this process."""
    monkeypatch.chdir(place)
    (place / "second.yaml").write_text(
        "dataset: {name: gaussians, count: 200}\narchitecture: {name: mlp, width: 8, depth: 2, latent: 4}\n"
        "loss: {name: non-saturating}\ntrain: {images: 48, batch_size: 8}\ncluster: {workers: 0}\n"
    )
    ended = CliRunner().invoke(app, ["train", "second.yaml", *overrides])
    return ended.exit_code, ended.output + ended.stderr
