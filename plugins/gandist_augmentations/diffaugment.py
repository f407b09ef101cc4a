"""Differentiable augmentation."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from gandist import Augmentation, Facts, Memory, Noise
from gandist_augmentations.images_only import unless_images

Change = Literal["color", "translation", "cutout"]


class DiffAugment(Augmentation):
    """Colour, translation and cutout of every image, real and generated (Zhao et al. 2020, section 3.2, their code).

    For little data; the strengths are the paper's. What the discriminator sees outside of a moved image is grey, unless
    `outside` says otherwise.
    """

    name: ClassVar[str] = "diffaugment"

    policy: tuple[Change, ...] = ("color", "translation", "cutout")
    """Which changes, in this order; the paper drops cutout where there is much data."""
    translation: float = Field(default=0.125, ge=0.0, le=1.0)
    """Largest shift, as a share of the image's size."""
    outside: Literal["grey", "edge"] = "grey"
    """What comes in where an image is moved: grey, as in the paper, or its border's pixels again. A classifier may come
    to rely on the grey, and is then asked about images without any."""
    cutout: float = Field(default=0.5, ge=0.0, le=1.0)
    """Side of the square that is greyed out, as a share of the image's."""

    def refuse(self, facts: Facts) -> str | None:
        """Points have no colours and no borders."""
        return unless_images(facts)

    def apply(self, images: Tensor, noise: Noise, memory: Memory | None) -> Tensor:
        """(B, C, H, W), all changed."""
        for change in self.policy:
            images = getattr(self, f"_{change}")(images, noise)
        return images

    def _color(self, images: Tensor, noise: Noise) -> Tensor:
        """Brightness by up to half the range's half, saturation up to twice, contrast from half to three halves."""
        brightness, saturation, contrast = noise.uniform(len(images), 3, 1, 1, 1).unbind(1)
        images = images + (brightness - 0.5)
        grey = images.mean(1, keepdim=True)
        images = torch.lerp(grey, images, 2.0 * saturation)
        return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, contrast + 0.5)

    def _translation(self, images: Tensor, noise: Noise) -> Tensor:
        rows, columns = self._moves(noise, images.shape[2], 0), self._moves(noise, images.shape[3], 0)
        padded = pad(images, (1, 1, 1, 1))
        # In the padded image 0 and the last are grey, 1 and the last but one the border's pixels.
        least, beyond = (0, 1) if self.outside == "grey" else (1, 0)
        rows = (self._places(images.shape[2], images.device) - rows + 1).clamp(least, images.shape[2] + beyond)
        columns = (self._places(images.shape[3], images.device) - columns + 1).clamp(least, images.shape[3] + beyond)
        batch = torch.arange(len(images), device=images.device)[:, None, None]
        return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def _moves(self, noise: Noise, size: int, least: int) -> Tensor:
        """A whole number of pixels a row, from -most to most: (B, 1)."""
        most = max(least, int(size * self.translation + 0.5))
        return ((2 * most + 1) * noise.uniform(len(noise), 1)).long().clamp_max(2 * most) - most

    def _cutout(self, images: Tensor, noise: Noise) -> Tensor:
        """A square at any place, also over a border."""
        inside = []
        for size in images.shape[2:]:
            side = int(size * self.cutout + 0.5)
            # The middle is any pixel, and one beyond for even sides, as in the authors' code.
            middle = ((size + 1 - side % 2) * noise.uniform(len(images), 1)).long()
            begin = middle - side // 2
            places = self._places(size, images.device)
            inside.append((places >= begin) & (places < begin + side))
        hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return images.masked_fill(hole, 0.0)

    @staticmethod
    def _places(size: int, device: torch.device) -> Tensor:
        return torch.arange(size, device=device)[None, :]
