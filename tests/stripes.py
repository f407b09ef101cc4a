"""Small images whose classes a classifier learns in a second."""

from __future__ import annotations

import torch
from torch import Tensor

from gandist import Facts, Source


class Stripes(Source):
    """Three classes of 12×12 images, told apart by the direction of their stripes."""

    def __init__(self, size: int = 240, fingerprint: str = "stripes"):
        self.facts = Facts((1, 12, 12), 3, size, fingerprint)

    def read(self, indices) -> dict[str, Tensor]:
        chosen = torch.tensor(list(indices))
        labels = chosen % 3
        noise = torch.randint(0, 60, (self.facts.size, 12, 12), generator=torch.Generator().manual_seed(1))[chosen]
        along, down = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
        waves = torch.stack([along % 4, down % 4, (along + down) % 4])[labels]
        return {"real": (waves * 60 + noise)[:, None].to(torch.uint8), "labels": labels}
