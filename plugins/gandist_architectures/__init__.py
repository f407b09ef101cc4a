"""Network architectures, a paper's in a file of its own; every module of this package is looked through."""

import pkgutil
from importlib import import_module

from gandist import Architecture, hookimpl


@hookimpl
def gandist_architectures() -> list[type[Architecture]]:
    """All that this package's modules define, not what they merely import."""
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return [
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type)
        and issubclass(found, Architecture)
        and found.__module__ == module.__name__
        and not found.abstract()
    ]
