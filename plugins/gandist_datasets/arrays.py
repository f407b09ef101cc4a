"""Data sets that fit in memory, read in place."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandist import Dataset, Facts, Source
from gandist_datasets.images import resize


class Arrays(Source):
    """Samples in one array: images uint8 (N, C, H, W) or points float32 (N, D), and labels (N,) if there are any.

    size: images are stretched to it when the first of them is read: checking a config asks for their facts only.
    test: the data set of samples that are held out.
    """

    def __init__(
        self,
        samples: NDArray,
        labels: NDArray | None = None,
        classes: int = 0,
        class_names: tuple[str, ...] = (),
        size: int | None = None,
        test: Dataset | None = None,
    ):
        self.test = test
        self._given, self._size = np.require(samples, requirements=["C", "W"]), size
        self.labels = None if labels is None else torch.from_numpy(labels.astype(np.int64))
        shape = samples.shape[1:] if size is None else (samples.shape[1], size, size)
        digest = hashlib.sha256(repr((samples.shape, shape)).encode())
        digest.update(self._given.data)
        if self.labels is not None:
            digest.update(self.labels.numpy().data)
        self.facts = Facts(shape, classes, len(samples), digest.hexdigest()[:32], class_names)

    @cached_property
    def samples(self) -> Tensor:
        """All samples as they are read."""
        return torch.from_numpy(self._given if self._size is None else resize(self._given, self._size))

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Copies of these samples, and their labels."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        batch = {"real": self.samples[rows]}
        if self.labels is not None:
            batch["labels"] = self.labels[rows]
        return batch

    def held_out(self) -> Source | None:
        """The test samples, opened when they are asked for."""
        return None if self.test is None else self._opened

    @cached_property
    def _opened(self) -> Source:
        assert self.test is not None
        return self.test.open()
