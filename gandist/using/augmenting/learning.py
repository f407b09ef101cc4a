"""The small classifier trained on a few images, alike whatever they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gandist.contract.noise import key
from gandist.evaluation.classifier import Classifier, shrink
from gandist.evaluation.fitting import classify

STEPS, BATCH = 300, 64
"""Of every training, so that none sees more images than another."""
ROTATION, SCALING, SHIFT = 10.0, 0.1, 0.1
"""Standard augmentation: up to so many degrees, share of the size, share of the side. Nothing is mirrored, since that
makes another letter of many."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images uint8 (N, C, H, W), sides of 8 to 32 once shrunk, and their labels int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """Shrinks the images as the classifier sees them."""
        object.__setattr__(self, "images", shrink(self.images))

    def __len__(self) -> int:
        return len(self.labels)


def jittered(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image (B, C, H, W) turned, scaled and moved a little by itself; the border is repeated. Float, in grey
    levels of 255."""
    draws = torch.rand(4, len(images), generator=generator).to(images.device) * 2 - 1
    angle, scale = draws[0] * math.radians(ROTATION), 1 + draws[1] * SCALING
    # In the units of affine_grid a side is 2 long.
    across, down = 2 * SHIFT * draws[2], 2 * SHIFT * draws[3]
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    rows = [torch.stack([cosine, -sine, across], 1), torch.stack([sine, cosine, down], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


def _rows(count: int, each: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices without end, `each` at a time: one shuffle of `count` after the other."""
    left = torch.zeros(0, dtype=torch.int64)
    while True:
        while len(left) < each:
            left = torch.cat([left, torch.randperm(count, generator=generator)])
        yield left[:each]
        left = left[each:]


def learn(
    parts: Sequence[Labelled], classes: int, seed: int, device: torch.device, *, augmented: bool, steps: int = STEPS
) -> Classifier:
    """The classifier in eval mode after `steps` batches of 64, in which all parts have the same share.

    Adam (Kingma & Ba 2015), its learning rate falling from 3e-3 to 0 along a cosine. First weights and batches are
    functions of the seed, and torch's random state stays as it was.
    """
    generator = torch.Generator().manual_seed(key(seed, "batches"))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key(seed, "weights"))
        classifier = Classifier(parts[0].images.shape[1], classes).to(device)
    streams = [_rows(len(part), BATCH // len(parts), generator) for part in parts]
    optimizer = torch.optim.Adam(classifier.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with torch.enable_grad():
        for _ in range(steps):
            rows = [next(stream) for stream in streams]
            images = torch.cat([part.images[chosen] for part, chosen in zip(parts, rows, strict=True)]).to(device)
            labels = torch.cat([part.labels[chosen] for part, chosen in zip(parts, rows, strict=True)]).to(device)
            _, logits = classifier(jittered(images, generator) if augmented else images)
            optimizer.zero_grad()
            F.cross_entropy(logits, labels).backward()
            optimizer.step()
            schedule.step()
    return classifier.eval().requires_grad_(False)


def accuracy(classifier: Classifier, test: Labelled) -> float:
    """The share of the test images that it classifies as they are labelled."""
    _, logits = classify(classifier, test.images)
    return float((logits.argmax(1).cpu() == test.labels).double().mean())
