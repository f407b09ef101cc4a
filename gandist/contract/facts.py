"""What the data set tells everybody else."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """What is known about the data before the first batch is read.

    shape: of one sample, (C, H, W) for images, (D,) for points.
    classes: number of labels, 0 where the data has none.
    size: number of samples.
    fingerprint: changes whenever the samples change; caches are keyed by it.
    class_names: one name a label, or empty.
    fitted: what the data set has learnt from its samples and needs to read others alike, such as the scale of each
    column, as JSON; empty for most. A run keeps it.
    """

    shape: tuple[int, ...]
    classes: int
    size: int
    fingerprint: str
    class_names: tuple[str, ...] = ()
    fitted: str = ""

    @property
    def images(self) -> bool:
        """Whether one sample is an image (C, H, W) rather than a point (D,)."""
        return len(self.shape) == 3
