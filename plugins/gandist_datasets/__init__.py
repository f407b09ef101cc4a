"""gandist's data sets: embedded, generated, downloaded, or the user's own images, in a folder or in shards."""

from gandist import Dataset, defined_in, hookimpl


@hookimpl
def gandist_datasets() -> list[type[Dataset]]:
    """All of this package."""
    return defined_in(__name__, Dataset)
