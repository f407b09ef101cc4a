"""Losses and regularizers, a paper's method in a file of its own; every module of this package is looked through."""

from gandist import Loss, Regularizer, defined_in, hookimpl


@hookimpl
def gandist_losses() -> list[type[Loss]]:
    """All losses of this package."""
    return defined_in(__name__, Loss)


@hookimpl
def gandist_regularizers() -> list[type[Regularizer]]:
    """All regularizers of this package."""
    return defined_in(__name__, Regularizer)
