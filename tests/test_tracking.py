"""The watchers of a run folder and of the terminal; Weights & Biases has a file of its own."""

import contextlib
import json
import math
import os
import pty
import sys
from pathlib import Path
from typing import Any

import pluggy
import pytest
import tiny
import torch
from PIL import Image

from gandist.contract import hookspecs
from gandist.contract.components import Watcher
from gandist.contract.discovery import installed
from gandist.tracking import Console, Grids, MetricsFile
from gandist.tracking.console import Lines, clock
from gandist.tracking.grids import axis_limit, grid, picture, scatter
from gandist.tracking.metrics_file import read

READINGS = {
    "images": 48.0,
    "loss/discriminator/total": 1.25,
    "loss/generator/total": 0.75,
    "loss/discriminator/r1": 9.0,
    "probability/real": 0.625,
    "probability/fake": 0.375,
    "images_per_second": 40.0,
}


def test_watchers_are_found_and_configured():
    names = {watcher.name for watcher in installed().components(Watcher)}
    assert {"console", "grids", "metrics", "wandb"} <= names
    assert set(tiny.config().tracking) == names
    assert tiny.config(tracking={"grids": {"enabled": False}}).tracking["grids"] == Grids(enabled=False)


def log(folder: Path, steps: range, resumed_from: int | None = None, **scalars: float) -> list[dict[str, Any]]:
    writer = MetricsFile().watch(tiny.view(folder, resumed_from))
    assert writer is not None
    for step in steps:
        writer.gandist_on_log(step=step, scalars={"images": 8.0 * step, **scalars})
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_metrics_are_on_disk_as_soon_as_they_are_logged(tmp_path: Path):
    assert log(tmp_path, range(1, 3), loss=0.5) == [
        {"step": 1, "images": 8, "loss": 0.5},
        {"step": 2, "images": 16, "loss": 0.5},
    ]


def test_metrics_after_a_resume_have_each_step_once(tmp_path: Path):
    log(tmp_path, range(1, 8), attempt=1.0)
    rows = log(tmp_path, range(5, 9), resumed_from=4, attempt=2.0)
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert [row["attempt"] for row in rows] == [1.0] * 4 + [2.0] * 4


def test_metrics_of_a_fresh_start_replace_older_ones(tmp_path: Path):
    log(tmp_path, range(1, 8))
    assert [row["step"] for row in log(tmp_path, range(1, 2))] == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("torn", [b'{"step": 4, "ima', b'{"step": 4, "images": 32', b"\x00\x00\xff"])
def test_half_a_line_is_dropped(tmp_path: Path, torn: bytes):
    log(tmp_path, range(1, 4))
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(torn)
    assert [row["step"] for row in read(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert [row["step"] for row in log(tmp_path, range(4, 6), resumed_from=3)] == [1, 2, 3, 4, 5]


def test_metrics_are_strict_json(tmp_path: Path):
    log(tmp_path, range(1, 2), a=math.nan, b=math.inf, c=1.0)

    def refuse(word: str) -> None:
        raise AssertionError(word)

    (row,) = (json.loads(line, parse_constant=refuse) for line in (tmp_path / "metrics.jsonl").open())
    assert row == {"step": 1, "images": 8, "a": None, "b": None, "c": 1.0}


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (4, "RGB")])
def test_grid_puts_each_image_in_its_cell(channels: int, mode: str):
    images = torch.randint(0, 256, (5, channels, 28, 20), dtype=torch.uint8)
    sheet = grid(images)
    # 5 images in 3 columns, twice as large (2 × 28 ≤ 64 < 3 × 28), 2 pixels apart.
    assert (sheet.mode, sheet.size) == (mode, (3 * 42 + 2, 2 * 58 + 2))
    for index, (left, top) in enumerate([(2, 2), (44, 2), (86, 2), (2, 60), (44, 60)]):
        for row, column in ((0, 0), (13, 7), (27, 19)):
            seen = sheet.getpixel((left + 2 * column + 1, top + 2 * row + 1))
            truth = images[index, : 1 if mode == "L" else 3, row, column].tolist()
            assert (list(seen) if isinstance(seen, tuple) else [seen]) == truth


def test_grid_is_square_and_has_64_at_most():
    sheet = grid(torch.zeros(100, 3, 128, 128, dtype=torch.uint8))
    assert sheet.size == (8 * 130 + 2, 8 * 130 + 2)


def test_points_are_drawn_where_they_are():
    sheet = scatter(torch.tensor([[1.0, 0.5], [-0.75, -1.0], [math.nan, 0.0]]))
    assert axis_limit(torch.tensor([[1.0, 0.5]])) == 1.5
    for x, y in ((1.0, 0.5), (-0.75, -1.0)):
        assert sheet.getpixel((round(240 + x / 1.5 * 240), round(240 - y / 1.5 * 240))) == (0, 0, 128)
    assert sheet.getpixel((240 + 80, 240 + 80)) == (255, 255, 255)


def test_axes_do_not_follow_noise():
    ring = torch.nn.functional.normalize(torch.randn(2500, 2))
    limits = {axis_limit(ring * 1.0 + 0.01 * torch.randn(2500, 2)) for _ in range(20)}
    assert limits == {1.5}


@pytest.mark.parametrize("samples", [torch.zeros(3, 1), torch.full((4, 2), math.nan), torch.ones(4, 7)])
def test_strange_points_have_a_picture(samples: torch.Tensor):
    assert picture(samples).size == (480, 480)


def test_grids_are_written(tmp_path: Path):
    writer = Grids().watch(tiny.view(tmp_path))
    assert writer is not None
    images = torch.randint(0, 256, (64, 1, 28, 28), dtype=torch.uint8)
    writer.gandist_on_samples(run=tiny.view(tmp_path), step=1000, images=images)
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["step-00001000.png"]
    with Image.open(tmp_path / "samples" / "step-00001000.png") as sheet:
        assert sheet.tobytes() == grid(images).tobytes()


def test_pictures_of_examinations_are_written_as_they_are(tmp_path: Path):
    writer, drawn = Grids().watch(tiny.view(tmp_path)), torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    assert writer is not None
    writer.gandist_on_pictures(run=tiny.view(tmp_path), step=1000, pictures={"matrix": drawn, "grey": drawn[:1]})
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == [
        "grey-step-00001000.png",
        "matrix-step-00001000.png",
    ]
    with Image.open(tmp_path / "pictures" / "matrix-step-00001000.png") as picture:
        assert picture.tobytes() == drawn.permute(1, 2, 0).contiguous().numpy().tobytes()


def show(folder: Path) -> None:
    """A run of 12 steps, as the launcher tells the console of it."""
    run = tiny.view(folder, resumed_from=3)
    console = Console().watch(run)
    assert isinstance(console, Lines)
    console.on_progress("starting Ray", 0, 0, None)
    console.on_progress("starting Ray", 0, 0, None)
    console.gandist_on_train_start(run=run)
    console.on_progress("training", 6, 48, None)
    console.gandist_on_log(step=6, scalars=READINGS)
    console.on_progress("saving", 6, 48, None)
    console.on_warning("a [strange] thing")
    console.gandist_on_evaluation(step=6, metrics={"frechet": 12.5, "class_share/0": 0.1})
    console.gandist_on_checkpoint(path=folder / "step-6")
    console.gandist_on_train_end(error=None)


def test_console_writes_plain_lines_where_there_is_no_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    show(tmp_path)
    out, lines = capfd.readouterr()
    assert out == ""
    assert lines.splitlines() == [
        "starting Ray",
        "training tiny: 12 steps on 1 worker, going on from step 3",
        "training",
        "step 6/12  40 images/s  0:01 left  loss discriminator 1.25  loss generator 0.75  D(x) 0.625  D(G(z)) 0.375",
        "warning: a [strange] thing",
        "evaluation at step 6: frechet 12.5",
        f"saved {tmp_path / 'step-6'}",
    ]


def read_all(terminal: int) -> str:
    """What was written to a terminal that nobody holds open any more."""
    chunks = []
    # Reading past the end of a terminal is an error on Linux.
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 4096):
            chunks.append(chunk)
    os.close(terminal)
    return b"".join(chunks).decode()


def test_console_shows_a_bar_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        show(tmp_path)
        monkeypatch.undo()
    seen = read_all(ours)
    for part in ("6/12", "saving", "40 images/s  0:01 left", "loss generator 0.75", "D(x) 0.625", "D(G(z)) 0.375"):
        assert part in seen
    assert "warning: a [strange] thing" in seen
    # The cursor is back.
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
    assert capfd.readouterr().out == ""


def test_watchers_can_be_switched_off(tmp_path: Path):
    run = tiny.view(tmp_path)
    assert [kind(enabled=False).watch(run) for kind in (Grids, MetricsFile)] == [None] * 2
    assert list(tmp_path.iterdir()) == []


def test_a_silent_console_still_warns(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    run = tiny.view(tmp_path)
    manager = pluggy.PluginManager("gandist")
    manager.add_hookspecs(hookspecs)
    console = Console(enabled=False).watch(run)
    manager.register(console)
    manager.hook.gandist_on_log(run=run, step=6, scalars=READINGS)
    console.on_warning("mind the gap")
    assert capfd.readouterr().err == "warning: mind the gap\n"


def test_clock():
    assert [clock(seconds) for seconds in (0, 59.6, 61, 3725)] == ["0:00", "1:00", "1:01", "1:02:05"]
