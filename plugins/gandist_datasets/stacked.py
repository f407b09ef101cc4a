"""Three grey images in the three channels of one, which makes a thousand modes out of ten classes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gandist import Dataset, Facts, Source
from gandist_datasets.digits import Digits
from gandist_datasets.folders import Root
from gandist_datasets.presets import FashionMnist, Kmnist, Mnist


class Stack(Source):
    """Sample i is three samples of `source`, drawn independently; its label has their labels as digits."""

    def __init__(self, source: Source, count: int):
        facts = source.facts
        # RandomState and not default_rng: its stream is the same in every version of numpy (NEP 19).
        drawn = np.random.RandomState(0).randint(facts.size, size=(count, 3))
        self.source, self.drawn = source, torch.from_numpy(drawn.astype(np.int64))
        names = facts.class_names
        combined = tuple(f"{a} {b} {c}" for a in names for b in names for c in names)
        fingerprint = hashlib.sha256(f"stacked {count} {facts.fingerprint}".encode()).hexdigest()[:32]
        self.facts = Facts((3, *facts.shape[1:]), facts.classes**3, count, fingerprint, combined)

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Images (B, 3, H, W) and labels in [0, classes³)."""
        rows = self.drawn[torch.as_tensor(indices, dtype=torch.int64)]
        batch = self.source.read(rows.flatten().tolist())
        labels = batch["labels"].view(-1, 3)
        classes = self.source.facts.classes
        weights = torch.tensor([classes**2, classes, 1])
        return {"real": batch["real"].view(len(rows), 3, *self.facts.shape[1:]), "labels": labels @ weights}


class Stacked(Dataset):
    """Stacked digits: random triples as the channels of one image, on which lost modes are counted (Metz et al. 2017).

    Of MNIST it is the stacked MNIST of the literature; by default it is made of the embedded digits.
    """

    name: ClassVar[str] = "stacked"

    of: Literal["digits", "mnist", "fashion-mnist", "kmnist"] = "digits"
    """The data set whose images are stacked."""
    root: Root | None = None
    """Folder of its files; null downloads them if need be. The embedded digits ignore it."""
    size: int = Field(default=32, ge=8, le=128)
    """Height and width of the images."""
    count: int = Field(default=128_000, ge=2, le=10_000_000)
    """Triples."""

    def open(self) -> Source:
        """Images (3, size, size) and a thousand classes."""
        fields = {"root": self.root, "size": self.size}
        return Stack(_STACKABLE[self.of](**fields).open(), self.count)


_STACKABLE: dict[str, type[Dataset]] = {kind.name: kind for kind in (Digits, Mnist, FashionMnist, Kmnist)}
