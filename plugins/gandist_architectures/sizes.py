"""Which image sizes an architecture takes, and what it says to the others."""

from gandist import Facts


def wrong_size(name: str, facts: Facts, sizes: tuple[int, ...]) -> str | None:
    """Why architecture `name`, which makes square images of these `sizes`, cannot take such data, or None if it can."""
    if not facts.images:
        return f"{name} makes images, the data set has points: use architecture.name: mlp"
    height, width = facts.shape[1:]
    if height == width and height in sizes:
        return None
    nearest = min(sizes, key=lambda size: abs(size - max(height, width)))
    known = ", ".join(map(str, sizes[:-1]))
    return (
        f"{name} makes square images of {known} or {sizes[-1]} pixels, the data set has {height}×{width}: "
        f"set dataset.size: {nearest}"
    )
