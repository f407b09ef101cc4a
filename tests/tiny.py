"""A run small enough to be trained within a test, and what its watchers are told about it."""

from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from gandist import Architecture, Facts, Noise
from gandist.config.schema import Config
from gandist.training.run import RunView


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def draw(self, noise: Noise, n: int) -> Tensor:
        return noise.normal(n, 2)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layer(latents)


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layer(images).squeeze(1)


class Affine(Architecture):
    """Affine players for points in the plane."""

    name: ClassVar[str] = "affine"

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        return {"generator": Generator(), "discriminator": Discriminator()}


def config(**sections: Any) -> Config:
    """12 steps of 8 points, logged every third."""
    train = {"images": 96, "batch_size": 8, "log_every": 3, "sample_every": 6, "save_every": 6}
    given: dict[str, Any] = {
        "run": {"name": "tiny"},
        "dataset": {"name": "gaussians"},
        "architecture": Affine(),
        "loss": {"name": "non-saturating", "regularizers": [{"name": "r1", "weight": 0.1}]},
        "train": train,
    }
    return Config.model_validate(given | sections)


def view(folder: Path, resumed_from: int | None = None, **given: Any) -> RunView:
    """A run in that folder. Warnings are appended to the list given as `warnings`."""
    warnings = given.pop("warnings", [])
    return RunView(
        id="tiny-1",
        name="tiny",
        folder=folder,
        config=config(**given),
        facts=Facts(shape=(2,), classes=0, size=64, fingerprint="tiny"),
        world_size=1,
        resumed_from=resumed_from,
        warn=warnings.append,
    )
