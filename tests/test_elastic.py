"""A run that goes on with more or fewer ranks is the same run: the same rows, latents and weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from gandist_losses.r1 import R1
from gandist_optimizers import SGD
from safetensors.torch import load_file
from torch import Tensor

from gandist import Facts, RunError, Source, Turn
from gandist.config.schema import Config
from gandist.testing.tiny import BaseLoss, RandomSamples, RandomSource, TinyPlayers
from gandist.training.loop import train
from gandist.training.sampling import samples
from gandist.training.shares import share
from gandist.training.surroundings import Surroundings
from tests.small_runs import Attempt, config, on_ranks

pytestmark = pytest.mark.arithmetic

STEPS, SIZE, BATCH = 20, 26, 8
"""Six epochs and a bit; batches reach over their ends."""
TOLD = "as it was told"


class NumberedSource(RandomSource):
    """Every sample comes with its index."""

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return {**super().read(indices), "index": torch.tensor(indices)}


class Numbered(RandomSamples):
    def open(self) -> Source:
        return NumberedSource(Facts(self.shape, self.classes, SIZE, "numbered"))


class Recorded(BaseLoss):
    """Writes down which samples and latents each step saw in its discriminator's turn."""

    name: ClassVar[str] = "recorded"

    file: str
    breaks_at: int = -1
    """In this step every rank fails."""

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        if turn.step == self.breaks_at:
            raise RunError(TOLD)
        row = {"step": turn.step, "start": turn.span.start, "index": turn["index"].tolist()}
        with Path(self.file).open("a") as file:
            file.write(json.dumps({**row, "latents": turn.latents.tolist()}) + "\n")
        return super().discriminator(turn)


def run(folder: Path, steps: int, breaks_at: int) -> Config:
    """Labels, a lazy penalty, momentum and the smoothed generator: all that a change of ranks could disturb."""
    loss = Recorded(file=str(folder.with_suffix(".jsonl")), breaks_at=breaks_at, regularizers=(R1(every=3),))
    descent = SGD(lr=0.05, momentum=0.5)
    return config(
        loss,
        steps,
        dataset=Numbered(size=SIZE),
        optimizer={"generator": descent, "discriminator": descent},
        train={"save_every": 4, "ema": {"half_life": 40}},
    )


def part(rank: int, world: int, folder: Path, dtype: torch.dtype, steps: int, breaks_at: int = -1) -> int | None:
    """Trains until `steps` as one rank; returns where it went on from."""
    config, attempt = run(folder, steps, breaks_at), Attempt()
    around = Surroundings(folder, rank=rank, world=world, dtype=dtype, watch=attempt.watch)
    try:
        train(config, config.dataset.open(), around)
    except RunError as error:
        if str(error) != TOLD:
            raise
        around.writer.wait()
    return attempt.resumed_from


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "checkpoints" / f"step-{STEPS:08d}" / "networks.safetensors")


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of a tensor, relative to the tensor."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).norm() / one[name].norm().clamp_min(1e-12)) for name in one)


Row = tuple[int, list[float]]


def rows(folder: Path) -> tuple[dict[tuple[int, int], Row], set[int]]:
    """(step, row of the global batch) → sample and latents, and which steps were done again."""
    seen: dict[tuple[int, int], Row] = {}
    again: set[int] = set()
    for line in map(json.loads, folder.with_suffix(".jsonl").read_text().splitlines()):
        for offset, what in enumerate(zip(line["index"], line["latents"], strict=True)):
            place = line["step"], line["start"] + offset
            # The first batch is rehearsed at each start.
            if place in seen and line["step"]:
                again.add(line["step"])
            assert seen.setdefault(place, what) == what, f"another sample or other latents at {place}"
    return seen, again


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [pytest.param(torch.float32, 1e-4, marks=pytest.mark.slow), (torch.float64, 1e-9)]
)
def test_four_two_three_and_four_ranks_do_what_four_do(tmp_path: Path, dtype: torch.dtype, tolerance: float):
    """Two ranks break after three steps without a checkpoint, which three, with uneven shares, do once more."""
    fixed, elastic, alone = tmp_path / "fixed", tmp_path / "elastic", tmp_path / "alone"
    on_ranks(4, part, fixed, dtype, STEPS)
    part(0, 1, alone, dtype, STEPS)
    assert on_ranks(4, part, elastic, dtype, 6)[0] is None
    assert on_ranks(2, part, elastic, dtype, STEPS, 11)[0] == 6
    assert on_ranks(3, part, elastic, dtype, 14)[0] == 8
    assert on_ranks(4, part, elastic, dtype, STEPS)[0] == 14

    seen, again = rows(elastic)
    assert again == {8, 9, 10}
    assert seen == rows(fixed)[0] == rows(alone)[0]
    order = [seen[place][0] for place in sorted(seen)]
    epochs = [order[start : start + SIZE] for start in range(0, STEPS * BATCH, SIZE)]
    assert len(order) == STEPS * BATCH
    assert all(sorted(epoch) == list(range(SIZE)) for epoch in epochs[:-1])
    assert len(set(epochs[-1])) == len(epochs[-1])

    undisturbed = weights(fixed)
    assert distance(undisturbed, weights(elastic)) < tolerance
    assert distance(undisturbed, weights(alone)) < tolerance


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_the_samples_of_one(world: int):
    """Also where a rank's part begins and ends within a block."""
    facts = Facts((3, 4, 4), 3, SIZE, "any")
    generator = TinyPlayers().players(facts, seed=1)["generator"].double()
    spans = [share(200, rank, world).span for rank in range(world)]
    made = [
        image
        for span in spans
        for image in samples(generator, facts, seed=5, start=span.start, stop=span.stop, device=torch.device("cpu"))
    ]
    whole = list(samples(generator, facts, seed=5, start=0, stop=200, device=torch.device("cpu")))
    assert len(torch.cat(made)) == 200
    assert torch.equal(torch.cat(made), torch.cat(whole))
