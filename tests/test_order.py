"""Which samples and which random numbers a row of the global batch gets: the same for every number of ranks."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from gandist import Facts, Noise, Source, Turn
from gandist.contract.turn import Moment, Span
from gandist.testing.tiny import BaseLoss, RandomSamples, TinyGenerator, TinyPlayers
from gandist.testing.trial import Trial, difference, play
from gandist.training.batches import Batches
from gandist.training.orders import Orders
from gandist.training.shares import share

SIZE, BATCH = 10, 6
CPU = torch.device("cpu")
SPLITS = [[8], [4, 4], [2, 2, 2, 2], [3, 3, 2]]


def noise(start: int, stop: int, *parts: object) -> Noise:
    return Noise(*(parts or (0, 0, 0, "latents")), start=start, stop=stop, total=8, device=CPU, dtype=torch.float32)


def spans(split: list[int]) -> list[Span]:
    ends = torch.tensor(split).cumsum(0).tolist()
    return [Span(end - size, end, sum(split)) for size, end in zip(split, ends, strict=True)]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_noise_belongs_to_the_row_and_not_to_the_rank(split: list[int], kind: str):
    whole, parts = noise(0, 8), [noise(span.start, span.stop) for span in spans(split)]
    for _ in range(2):
        together = torch.cat([getattr(part, kind)(len(part), 5) for part in parts])
        assert torch.equal(together, getattr(whole, kind)(8, 5))


def test_no_two_rows_requests_or_streams_have_the_same_noise():
    stream = noise(0, 8)
    keys = [(1, 0, 0, "latents"), (0, 1, 0, "latents"), (0, 0, 1, "latents"), (0, 0, 0, "alpha")]
    drawn = [stream.normal(8, 3), stream.normal(8, 3), *(noise(0, 8, *parts).normal(8, 3) for parts in keys)]
    rows = {tuple(row) for one in drawn for row in one.tolist()}
    assert len(rows) == len(drawn) * 8


def latents(span: Span, step: int = 0, number: int = 0) -> Tensor:
    players = {"generator": TinyGenerator(Facts((2,), 0, 10, "any"))}
    return Turn(players, "discriminator", {}, span, Moment(seed=3, step=step, number=number, count=step)).latents


@pytest.mark.parametrize("split", SPLITS)
def test_latents_of_a_turn_are_the_same_on_every_split(split: list[int]):
    assert torch.equal(torch.cat([latents(span) for span in spans(split)]), latents(Span(0, 8, 8)))


def test_every_turn_draws_fresh_latents():
    turns = [latents(Span(0, 8, 8), step, number) for step in (0, 1) for number in (0, 1)]
    assert len({tuple(row) for turn in turns for row in turn.tolist()}) == 4 * 8


class Numbers(Source):
    """Sample i is the number i."""

    facts = Facts((1,), 0, SIZE, "numbers")

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return {"real": torch.tensor(indices, dtype=torch.float32)[:, None]}


def stream(world: int, batches: int, seed: int = 0) -> list[int]:
    """The samples of the first batches in the order of the global batch, as `world` ranks read them."""
    readers = [Batches(Numbers(), seed, share(BATCH, rank, world).span, 0, CPU) for rank in range(world)]
    read = [reader.take(number)["real"] for number in range(batches) for reader in readers]
    return torch.cat(read).flatten().int().tolist()


def test_uneven_shares_are_neighbours_the_larger_ones_first():
    assert [len(share(BATCH, rank, 4).span) for rank in range(4)] == [2, 2, 1, 1]
    assert [share(BATCH, rank, 4).span.start for rank in range(4)] == [0, 2, 4, 5]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_each_epoch_has_every_sample_once_on_any_number_of_ranks(world: int):
    """Batches of 6 from 10 samples reach over the ends of epochs; nothing is dropped or repeated there."""
    seen = stream(world, 5)
    epochs = [seen[start : start + SIZE] for start in range(0, 30, SIZE)]
    assert all(sorted(epoch) == list(range(SIZE)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert seen == stream(1, 5)
    assert seen != stream(world, 5, seed=1)


def test_a_batch_is_the_same_whenever_it_is_read():
    reader = Batches(Numbers(), 0, Span(0, BATCH, BATCH), 0, CPU)
    later = reader.take(7)["real"]
    for number in range(7):
        reader.take(number)
    assert torch.equal(reader.take(7)["real"], later)


@pytest.mark.parametrize(("world", "micro"), [(1, None), (1, 2), (2, None), (4, None), (2, 2), (5, 1)])
def test_weighted_means_of_parts_are_the_mean_over_the_batch(world: int, micro: int | None):
    values = torch.arange(11, dtype=torch.float64) ** 2
    ranks = []
    for rank in range(world):
        own = share(11, rank, world, micro)
        parts = [part for part in own.parts if len(part)]
        ranks.append(sum(values[part.start : part.stop].mean() * own.weight(part, world) for part in parts))
    torch.testing.assert_close(sum(ranks) / world, values.mean())


def test_four_ranks_with_uneven_shares_of_a_small_data_set_equal_one():
    data = RandomSamples(shape=(1, 4, 4), classes=0, size=SIZE)
    trial = Trial(BaseLoss(), TinyPlayers(), data, batch_size=BATCH, steps=5)
    gap, where = difference(play(trial), play(trial, world=4))
    assert gap < 1e-10, where


def test_an_order_that_was_given_up_is_made_again():
    """Its memory has served other epochs in between; a copy in a loader process makes its own."""
    orders = Orders(7, "real", 100)
    first = [orders.indices(100 * epoch, 100 * epoch + 100) for epoch in range(5)]
    assert all(sorted(order) == list(range(100)) for order in first)
    assert len({tuple(order) for order in first}) == 5
    again = pickle.loads(pickle.dumps(orders))
    for epoch in (0, 3, 1, 4, 2):
        assert orders.indices(100 * epoch, 100 * epoch + 100) == again.indices(100 * epoch, 100 * epoch + 100)
        assert orders.indices(100 * epoch, 100 * epoch + 100) == first[epoch]
    assert orders.indices(50, 250) == first[0][50:] + first[1] + first[2][:50]
    assert len(pickle.dumps(orders)) < 200
