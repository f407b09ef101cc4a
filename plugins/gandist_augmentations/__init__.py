"""Augmentations of what the discriminator judges, a paper's method in a file of its own."""

from gandist import Augmentation, hookimpl
from gandist_augmentations.ada import Ada
from gandist_augmentations.diffaugment import DiffAugment
from gandist_augmentations.flips import Flips


@hookimpl
def gandist_augmentations() -> list[type[Augmentation]]:
    """All of this package."""
    return [Ada, DiffAugment, Flips]
