"""A plugin that writes down which samples each step saw, and on which host, and that is as slow as it is told to be.

It brings the tiny players too, the only network at hand that is smooth and has no batch norm.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from gandist_datasets.digits import Digits
from gandist_losses.non_saturating import NonSaturating
from torch import Tensor

from gandist import Architecture, Dataset, Loss, Source, Turn, hookimpl
from gandist.testing.tiny import TinyPlayers


class Numbered(Source):
    """Every sample comes with its index."""

    def __init__(self, source: Source):
        self._source, self.facts = source, source.facts

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return {**self._source.read(indices), "index": torch.tensor(indices)}


class NumberedDigits(Digits):
    """The digits with their numbers."""

    name: ClassVar[str] = "numbered-digits"

    def open(self) -> Source:
        return Numbered(super().open())


class Recorded(NonSaturating):
    """Appends a row to FOLDER/seen.jsonl in each step of each rank; a step lasts as long as FOLDER/pace says."""

    name: ClassVar[str] = "recorded"

    folder: str
    """Where the two files are."""

    def discriminator(self, turn: Turn) -> dict[str, Tensor]:
        networks = [os.environ.get(name) for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")]
        where = {"host": socket.gethostname(), "networks": networks, "step": turn.step, "start": turn.span.start}
        with Path(self.folder, "seen.jsonl").open("a") as file:
            file.write(json.dumps({**where, "index": turn["index"].tolist()}) + "\n")
        time.sleep(float(Path(self.folder, "pace").read_text()))
        return super().discriminator(turn)


@hookimpl
def gandist_datasets() -> list[type[Dataset]]:
    return [NumberedDigits]


@hookimpl
def gandist_losses() -> list[type[Loss]]:
    return [Recorded]


@hookimpl
def gandist_architectures() -> list[type[Architecture]]:
    return [TinyPlayers]
