"""The embedded data set: real handwritten digits, small enough to lie in the package."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from gandist import Source
from gandist_datasets.arrays import Arrays
from gandist_datasets.labelling import Labelling

TRAIN = 1437
"""Scans in the training part, four fifths of all; the other 360 are the test part."""


class Digits(Labelling):
    """1,797 real handwritten digits (Alpaydin & Kaynak 1998, UCI), 8×8 scans scaled up; nothing to download."""

    name: ClassVar[str] = "digits"
    licence: ClassVar[str] = "cc-by-4.0"

    root: str | None = None
    """Ignored, so that data sets can be exchanged by name. The scans lie in the package."""
    size: int = Field(28, ge=8, le=128)
    """Height and width; the scans have 8×8 pixels and are scaled up bicubically."""
    split: Literal["all", "train", "test"] = "all"
    """All 1,797, or 1,437 of them in a fixed random order, or the other 360. With `labelled`, all is train."""

    def open(self) -> Source:
        """Images (1, size, size), white on black, and ten classes."""
        with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as stored:
            counts, labels = stored["images"], stored["labels"]
        # RandomState and not default_rng: its stream is the same in every version of numpy (NEP 19).
        order = np.random.RandomState(0).permutation(len(counts))
        split = "train" if self.split == "all" and self.labelled is not None else self.split
        rows = {"all": np.arange(len(counts)), "train": order[:TRAIN], "test": order[TRAIN:]}[split]
        images = (counts[rows, None].astype(np.float32) * (255 / 16)).round().astype(np.uint8)
        test = Digits(size=self.size, split="test") if split == "train" else None
        source = Arrays(images, labels[rows], 10, tuple("0123456789"), self.size, test)
        return self.as_seen(source, source.labels, split=test is None)
