"""Losses and regularizers, a paper's method in a file of its own; every module of this package is looked through."""

import pkgutil
from importlib import import_module
from typing import TypeVar

from gandist import Loss, Regularizer, hookimpl

Kind = TypeVar("Kind", Loss, Regularizer)


def _defined_here(kind: type[Kind]) -> list[type[Kind]]:
    """The named components of a kind that this package's modules define, not those that they merely import."""
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return [
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type)
        and issubclass(found, kind)
        and found.__module__ == module.__name__
        and not found.abstract()
    ]


@hookimpl
def gandist_losses() -> list[type[Loss]]:
    """All losses of this package."""
    return _defined_here(Loss)


@hookimpl
def gandist_regularizers() -> list[type[Regularizer]]:
    """All regularizers of this package."""
    return _defined_here(Regularizer)
