"""What every augmentation of images says to points."""

from gandist import Facts


def unless_images(facts: Facts) -> str | None:
    """Why an augmentation of images refuses such data, or None."""
    return None if facts.images else "changes images, and these are points"
