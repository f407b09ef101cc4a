"""Network architectures, a paper's in a file of its own; every module of this package is looked through."""

from gandist import Architecture, defined_in, hookimpl


@hookimpl
def gandist_architectures() -> list[type[Architecture]]:
    """All of this package."""
    return defined_in(__name__, Architecture)
