"""Mirror images."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gandist import Augmentation, Facts, Memory, Noise
from gandist_augmentations.images_only import unless_images


class Flips(Augmentation):
    """Mirrors images left to right, each with the same probability.

    The generator then makes both forms: right for scenes and faces, wrong for digits and letters.
    """

    name: ClassVar[str] = "flips"

    probability: float = Field(default=0.5, ge=0.0, le=1.0)
    """Of an image."""

    def refuse(self, facts: Facts) -> str | None:
        """Points have no left and right."""
        return unless_images(facts)

    def apply(self, images: Tensor, noise: Noise, memory: Memory | None) -> Tensor:
        """(B, C, H, W), some mirrored."""
        mirrored = noise.uniform(len(images), 1, 1, 1) < self.probability
        return torch.where(mirrored, images.flip(3), images)
