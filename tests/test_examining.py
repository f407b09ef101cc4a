"""Players are examined by held-out samples, the same on any number of ranks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.distributed as dist
from stripes import Stripes
from tiny import config as tiny_config
from torch import Tensor, nn

from gandist import ConfigError, Examination, Examined, Source
from gandist.evaluation.evaluator import Evaluator
from tests.ranks import on_ranks

CPU = torch.device("cpu")
HELD_OUT = 1130


class WithTest(Stripes):
    """Has samples that no training sees."""

    def held_out(self) -> Source:
        return Stripes(HELD_OUT, "the test half")


class Brightness(nn.Module):
    """A judge with noise inside."""

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return images.float().mean((1, 2, 3)) + torch.randn(len(images))


class Brighter(Examination):
    """Share of samples of class 0 among those that the judge calls bright."""

    name: ClassVar[str] = "brighter"
    scores: ClassVar[tuple[str, ...]] = ("brighter", "last_label")

    def answers(self, rows: Mapping[str, Tensor], examined: Examined) -> dict[str, Tensor]:
        said = examined.players["discriminator"](rows["real"])
        return {"bright": said > 100, "said": said, "labels": rows["labels"]}

    def grade(self, answers: Mapping[str, Tensor]) -> dict[str, float]:
        assert len(answers["said"]) == HELD_OUT
        assert answers["bright"].dtype == torch.bool
        among = (answers["labels"][answers["bright"]] == 0).double().mean()
        return {"brighter": float(among), "last_label": int(answers["labels"][-1]), "sum": float(answers["said"].sum())}


def evaluator() -> Evaluator:
    config = tiny_config(evaluate={"metrics": (Brighter(),), "every": 1})
    return Evaluator(config, WithTest(), CPU)


def players() -> dict[str, nn.Module]:
    return {"discriminator": Brightness().train()}


def test_an_examination_needs_no_generator_and_disturbs_nothing():
    torch.manual_seed(5)
    before, own = torch.get_rng_state(), players()
    scores = evaluator().measure(own, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert own["discriminator"].training
    assert scores["last_label"] == (HELD_OUT - 1) % 3
    assert 0 <= scores["brighter"] <= 1
    assert scores == evaluator().measure(own, seed=1)


def test_the_protocol_says_how_many_were_held_out():
    assert evaluator().protocol()["held_out"] == {"count": HELD_OUT, "metrics": {"brighter": {"name": "brighter"}}}


def test_data_without_held_out_samples_are_refused():
    config = tiny_config(evaluate={"metrics": (Brighter(),), "every": 1})
    with pytest.raises(ConfigError, match="brighter needs held-out samples, this data set has none"):
        Evaluator(config, Stripes(), CPU)


def _examine_on_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    for world in (3, 2):
        if rank >= world:
            break
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting-{world}", rank=rank, world_size=world)
        Path(folder, f"{world}-{rank}.json").write_text(json.dumps(evaluator().measure(players(), seed=0)))
        dist.barrier()
        dist.destroy_process_group()
    # Without the interpreter's teardown, in which a thread of gloo that still runs aborts the process now and then.
    os._exit(0)


def test_the_scores_are_the_same_on_one_two_and_three_ranks(tmp_path: Path):
    on_ranks(3, _examine_on_rank, str(tmp_path))
    alone: dict[str, Any] = evaluator().measure(players(), seed=0)
    for world in (2, 3):
        for rank in range(world):
            assert json.loads((tmp_path / f"{world}-{rank}.json").read_text()) == alone
