"""Data sets that fit in memory, read in place."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gandist import Facts, Source


class Arrays(Source):
    """Samples in one array: images uint8 (N, C, H, W) or points float32 (N, D), and labels (N,) if there are any."""

    def __init__(
        self, samples: NDArray, labels: NDArray | None = None, classes: int = 0, class_names: tuple[str, ...] = ()
    ):
        self.samples = torch.from_numpy(np.require(samples, requirements=["C", "W"]))
        self.labels = None if labels is None else torch.from_numpy(labels.astype(np.int64))
        digest = hashlib.sha256(repr(samples.shape).encode())
        digest.update(self.samples.numpy().data)
        if self.labels is not None:
            digest.update(self.labels.numpy().data)
        self.facts = Facts(samples.shape[1:], classes, len(samples), digest.hexdigest()[:32], class_names)

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Copies of these samples, and their labels."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        batch = {"real": self.samples[rows]}
        if self.labels is not None:
            batch["labels"] = self.labels[rows]
        return batch
