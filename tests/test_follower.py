"""A run that somebody else follows, as a sweep does: told of what happens, and ended early with a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gandist.config.compose import compose
from gandist.launch.resources import Place, Room
from gandist.launch.run import DONE, STOPPED, Within, run

POINTS: dict[str, Any] = {
    "run": {"name": "followed"},
    "dataset": {"name": "gaussians", "count": 1000},
    "architecture": {"name": "mlp", "width": 8},
    "loss": {"name": "non-saturating"},
    "train": {"images": 16 * 20_000, "batch_size": 16, "log_every": 100, "sample_every": 0, "save_every": 0},
    "cluster": {"workers": 0},
    "evaluate": {"every": 100, "metrics": ["modes"], "count": 200},
}


class Noted:
    """Wants the run to end once it has seen an evaluation."""

    def __init__(self) -> None:
        self.hooks: list[tuple[str, dict[str, Any]]] = []

    def told(self, hook: str, facts: dict[str, Any]) -> None:
        self.hooks.append((hook, facts))

    def wants_stop(self) -> bool:
        return any(hook == "gandist_on_evaluation" for hook, _ in self.hooks)


def test_a_follower_hears_evaluations_and_ends_the_run_with_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    place = Place("here", (Room("here", 1, 0),))
    noted = Noted()
    outcome = run(compose(POINTS), within=Within(place, address=None, follower=noted))
    assert outcome.code == STOPPED
    heard = [hook for hook, _ in noted.hooks]
    assert heard.index("gandist_on_train_start") < heard.index("gandist_on_evaluation")
    evaluation = next(facts for hook, facts in noted.hooks if hook == "gandist_on_evaluation")
    assert evaluation["step"] == 100
    assert evaluation["metrics"]["modes"] == 8
    (saved,) = (tmp_path / "runs" / "followed" / "checkpoints").iterdir()
    last = int(saved.name.split("-")[1])
    assert 100 <= last < 20_000

    again = Noted()
    monkeypatch.setattr(again, "wants_stop", lambda: False)
    shorter = compose(POINTS, {"train.images": 16 * (last + 100)})
    outcome = run(shorter, within=Within(place, address=None, follower=again))
    assert outcome.code == DONE
    start = next(facts for hook, facts in again.hooks if hook == "gandist_on_train_start")
    assert start["resumed_from"] == last
