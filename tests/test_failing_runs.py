"""Runs in which a rank hangs or a plugin fails: told once, with the place, and not retried for ever."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.processes import install, run, start, training_workers, wait_for
from tests.ranks import train_on_ranks
from tests.test_launch import EVERY, config, saved, steps, write

BROKEN = '''
from typing import ClassVar
import torch
from torch.nn.functional import softplus
import gandist_datasets.digits
from gandist import Loss, Source, hookimpl

class Base(Loss):
    def discriminator(self, turn):
        return {"total": softplus(-turn.on_real.logits).mean() + softplus(turn.on_fake.logits).mean()}
    def generator(self, turn):
        return {"total": softplus(-turn.on_fake.logits).mean()}

class Raises(Base):
    """Raises on one rank only."""
    name: ClassVar[str] = "raises"
    def generator(self, turn):
        if turn.step == 57 and turn.span.start > 0:
            raise KeyError("no such thing")
        return super().generator(turn)

class Uneven(Base):
    """Logs a term on one rank only."""
    name: ClassVar[str] = "uneven"
    def generator(self, turn):
        terms = super().generator(turn)
        return {**terms, "oddity": terms["total"]} if turn.span.start > 0 else terms

class Nan(Base):
    """Is not a number on one rank only."""
    name: ClassVar[str] = "nan"
    def generator(self, turn):
        terms = super().generator(turn)
        if turn.step == 57 and turn.span.start > 0:
            terms["total"] = terms["total"] * float("nan")
        return terms

class Torn(gandist_datasets.digits.Digits):
    """One of its samples cannot be read."""
    name: ClassVar[str] = "torn"
    def open(self):
        return TornSource(super().open())

class TornSource(Source):
    def __init__(self, whole):
        self.facts, self.whole = whole.facts, whole
    def __len__(self):
        return len(self.whole)
    def read(self, indices):
        if 1000 in list(indices):
            raise OSError("sample 1000 is torn")
        return self.whole.read(indices)

@hookimpl
def gandist_losses():
    return [Raises, Nan, Uneven]

@hookimpl
def gandist_datasets():
    return [Torn]
'''


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            {"loss": {"name": "raises"}},
            ["step 57", "rank 1", "KeyError: 'no such thing'", "generator's turn", "loss raises"],
        ),
        (
            {"dataset": {"name": "torn", "size": 16}},
            ["OSError: sample 1000 is torn", "reading batch", "broken_losses.TornSource", "rank"],
        ),
    ],
    ids=["loss", "dataset"],
)
def test_a_deterministic_failure_is_told_once_and_not_retried_for_ever(
    tmp_path: Path, broken: dict[str, Any], said: list[str]
):
    site = install(tmp_path, "broken-losses", "broken_losses", BROKEN)
    ended = run("train", write(tmp_path, {**config(2), **broken}), cwd=tmp_path, PYTHONPATH=site)
    folder = tmp_path / "runs" / "small"
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    for words in said:
        assert words in last
    # Once to see whether it comes again, and no more.
    causes = [json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines()]
    assert [cause["final"] for cause in causes] == [False, True]
    assert saved(folder, EVERY) or "dataset" in broken
    assert not saved(folder, 2 * EVERY)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("nan", ["not a finite number", "generator's turn of step 57", "rank 1"]),
        ("uneven", ["ranks returned different terms"]),
    ],
)
def test_what_one_rank_finds_ends_all_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str, said: list[str]
):
    monkeypatch.syspath_prepend(install(tmp_path, "broken-losses", "broken_losses", BROKEN))
    folder = tmp_path / "run"
    train_on_ranks(2, [{"config": {**config(2), "loss": {"name": loss}}, "folder": str(folder)}])
    for rank in range(2):
        told = (folder / f"error-{rank}.txt").read_text()
        assert all(words in told for words in said), told
    assert saved(folder, EVERY) == (loss == "nan")
    assert not saved(folder, 2 * EVERY)


@pytest.mark.slow
def test_a_worker_that_hangs_is_named_with_its_phase_and_replaced(tmp_path: Path):
    """One of two workers stopped for longer than the timeout, as a host that hangs would be."""
    hanging = config(2, images=16 * 600)
    hanging["cluster"]["timeout"] = 10
    process = start("train", write(tmp_path, hanging), cwd=tmp_path)
    folder = tmp_path / "runs" / "small"
    wait_for(lambda: saved(folder, EVERY), process, "the first checkpoint")
    stopped = training_workers(process.pid)[1]
    os.kill(stopped, signal.SIGSTOP)
    process.communicate(timeout=300)
    said = (tmp_path / "stderr.txt").read_text()
    assert process.returncode == 0, said
    named = rf"waited 10 s \(cluster.timeout\) at step \d+ for rank \d on host \S+ \(pid {stopped}\)"
    assert re.search(named, said), said
    assert "heartbeats 2" in said
    assert steps(folder) == list(range(10, 601, 10))
    causes = [json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines()]
    assert not any(cause["final"] for cause in causes)
