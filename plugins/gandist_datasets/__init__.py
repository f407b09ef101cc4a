"""gandist's data sets: embedded, generated, downloaded, or the user's own images, in a folder or in shards."""

from gandist import Dataset, hookimpl
from gandist_datasets.cifar10 import Cifar10
from gandist_datasets.digits import Digits
from gandist_datasets.gaussians import Gaussians
from gandist_datasets.idx import Idx
from gandist_datasets.image_folder import ImageFolder
from gandist_datasets.presets import FashionMnist, Kmnist, Mnist
from gandist_datasets.shards import Shards
from gandist_datasets.stacked import Stacked


@hookimpl
def gandist_datasets() -> list[type[Dataset]]:
    """All of this package."""
    return [Digits, Idx, Mnist, FashionMnist, Kmnist, Cifar10, ImageFolder, Shards, Gaussians, Stacked]
