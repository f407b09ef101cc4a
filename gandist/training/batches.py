"""Which samples each step sees, a pure function of the seed; and how they are read ahead."""

from __future__ import annotations

import multiprocessing
import os
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import wait

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gandist.contract.components import Source
from gandist.contract.noise import key
from gandist.contract.turn import Span
from gandist.errors import GandistError
from gandist.training.orders import Orders
from gandist.training.waiting import travels


class _Reader(Dataset[dict[str, Tensor] | Exception]):
    """Reads this rank's rows of the global batch with a given number; what the loader processes hold."""

    def __init__(self, streams: Mapping[str, Source], seed: int, span: Span):
        self.streams, self.seed, self.span = dict(streams), seed, span
        self.orders = {name: Orders(seed, name, len(source)) for name, source in self.streams.items()}

    def __getitem__(self, number: int) -> dict[str, Tensor] | Exception:
        # Handed over as a value, because the loader would put its own traceback into the message.
        try:
            return self.read(number)
        except Exception as error:
            return error if travels(error) else RuntimeError(f"{type(error).__name__}: {error}")

    def read(self, number: int) -> dict[str, Tensor]:
        first = number * self.span.total
        batch: dict[str, Tensor] = {}
        for name, source in self.streams.items():
            start = first + self.span.start
            chosen = self.orders[name].indices(start, first + self.span.stop)
            try:
                batch.update(source.varied(chosen, key(self.seed, "varied", name), start))
            except GandistError:
                raise
            except Exception as error:
                at = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{type(source).__module__}.{type(source).__name__}"
                error.add_note(f"(reading batch {number} from {where}, {at.filename}:{at.lineno})")
                raise
        return batch


class Batches:
    """This rank's rows of each global batch, by the batch's number; read ahead by `loaders` processes if asked for."""

    def __init__(self, source: Source, seed: int, span: Span, loaders: int, device: torch.device):
        self._reader = _Reader(source.streams(), seed, span)
        self._loaders = loaders if any(stream.slow for stream in source.streams().values()) else 0
        self._device = device
        self._ahead: Iterator[dict[str, Tensor] | Exception] | None = None
        self._next = -1

    def take(self, number: int) -> dict[str, Tensor]:
        """The batch of that number on the device. Reading ahead pays when the numbers come in order."""
        if not self._loaders:
            return self._to_device(self._reader.read(number))
        if self._ahead is None or number != self._next:
            self._ahead = self._read_ahead(number)
        self._next = number + 1
        batch = next(self._ahead)
        if isinstance(batch, Exception):
            raise batch
        return self._to_device(batch)

    def peek(self, number: int) -> dict[str, Tensor]:
        """The batch of that number, read in this process; nothing is read ahead from it."""
        return self._to_device(self._reader.read(number))

    def _to_device(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: rows.to(self._device, non_blocking=True) for name, rows in batch.items()}

    def _read_ahead(self, first: int) -> Iterator[dict[str, Tensor] | Exception]:
        # Not forked: this process has the threads of gloo, NCCL and Ray, which a fork would leave half alive.
        loader = DataLoader(
            self._reader,
            batch_size=None,
            sampler=_From(first),
            num_workers=self._loaders,
            prefetch_factor=2,
            pin_memory=self._device.type == "cuda",
            multiprocessing_context="forkserver",
            worker_init_fn=_end_with_the_rank,
            # A base seed of its own, so that the loader draws none from the global random state.
            generator=torch.Generator().manual_seed(0),
        )
        return iter(loader)

    def close(self) -> None:
        """Ends the loader processes."""
        self._ahead = None


def _end_with_the_rank(number: int) -> None:
    """Ends this loader process when the rank that started it is gone, even by SIGKILL.

    Torch watches the loader's parent by its number, and that is the fork server, which lives as long as a loader does.
    """
    rank = multiprocessing.parent_process()
    assert rank is not None

    def watch() -> None:
        wait([rank.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="rank-watch", daemon=True).start()


class _From(Sequence[int]):
    """first, first + 1, … without end."""

    def __init__(self, first: int):
        self.first = first

    def __iter__(self) -> Iterator[int]:
        number = self.first
        while True:
            yield number
            number += 1

    def __getitem__(self, index):  # type: ignore[override]
        return self.first + index

    def __len__(self) -> int:
        return 2**62
