"""Augmentations, a paper's method in a file of its own; every module of this package is looked through."""

from gandist import Augmentation, defined_in, hookimpl


@hookimpl
def gandist_augmentations() -> list[type[Augmentation]]:
    """All of this package."""
    return defined_in(__name__, Augmentation)
