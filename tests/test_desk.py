"""What the driver shows of the ranks, and what a rank that fails leaves behind."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tiny

from gandist.errors import RunError
from gandist.launch.board import Board, Cause, Place, Sighting
from gandist.launch.desk import ALL_SILENT, SILENT, Desk
from gandist.launch.home import Home
from gandist.launch.worker import Rank

SMALL = {
    "run": {"name": "small"},
    "dataset": {"name": "gaussians"},
    "architecture": {"name": "mlp"},
    "loss": {"name": "non-saturating"},
}


@dataclass
class Ages:
    """A board that knows only how long ago each rank was heard of."""

    heard: dict[int, float] = field(default_factory=dict)

    def news(self) -> tuple[dict[int, Sighting], list[Any], list[Cause]]:
        place = Place("training", 7, 56, "h1", 12)
        return {rank: Sighting(place, age, age) for rank, age in self.heard.items()}, [], []


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Ages, Desk, list[str]]:
    board, lines = Ages(), []
    desk = Desk(tiny.config(tracking={"console": {"enabled": False}}), tiny.view(tmp_path), Home(tmp_path, "tiny"))
    monkeypatch.setattr(desk, "warn", lines.append)
    desk.sit(board)  # pyright: ignore[reportArgumentType]
    return board, desk, lines


def looked(board: Ages, desk: Desk, lines: list[str], *heard: float) -> list[str]:
    board.heard = dict(enumerate(heard))
    lines.clear()
    desk.look()
    return list(lines)


def test_a_silent_rank_is_told_once_and_its_return_too(said: tuple[Ages, Desk, list[str]]):
    assert looked(*said, 1, SILENT - 1) == []
    assert [line[:14] for line in looked(*said, 1, SILENT + 1)] == ["rank 1 on host"]
    assert looked(*said, 1, SILENT + 2) == []
    assert looked(*said) == []
    assert looked(*said, 0, 0) == ["rank 1 is back"]


def test_a_group_that_is_being_replaced_is_no_news(said: tuple[Ages, Desk, list[str]]):
    assert looked(*said, SILENT + 1, SILENT + 2) == []
    assert looked(*said, 0, 0) == []
    assert len(looked(*said, ALL_SILENT + 1, ALL_SILENT + 2)) == 2


def test_what_is_under_way_is_whole_before_the_cause_is_told(tmp_path: Path):
    order: list[str] = []

    class Noted(Board):
        def fail(self, cause: Cause) -> None:
            order.append(cause.text)

    def write() -> Path:
        time.sleep(0.3)
        order.append("checkpoint")
        return tmp_path

    payload = {"folder": str(tmp_path), "config": SMALL, "url": None}
    rank = Rank(payload, Noted(), 0, 1)
    rank.writer.start(3, write)
    rank.fail(RunError("nobody knows"))
    rank.pulse.close()
    assert order == ["checkpoint", "nobody knows"]
