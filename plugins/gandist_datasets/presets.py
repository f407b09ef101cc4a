"""MNIST and its drop-in replacements: where their IDX files are published, and what must be in them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from gandist import cache_folder
from gandist_datasets.files import Remote, Server, download
from gandist_datasets.folders import Root
from gandist_datasets.idx import IdxImages, find_idx


class Preset(IdxImages):
    """A published data set in IDX files, downloaded into the cache folder unless `root` is given."""

    servers: ClassVar[tuple[str, ...]]
    sums: ClassVar[dict[str, str]]
    names: ClassVar[tuple[str, ...]]

    root: Root | None = None
    """Folder with the four files, gzipped or not, or its URL; null downloads them to datasets/NAME in the cache."""
    url: Server | None = None
    """Another server to download from: what stands before the files' names."""

    def find(self, file: str) -> Path:
        """The path of `file` in `root`, or else of the checked download."""
        if self.root is not None:
            return find_idx(self.root, file)
        file = f"{file}.gz"
        servers = (self.url,) if self.url else self.servers
        return download(Remote(file, self.sums[file]), cache_folder() / "datasets" / self.name, servers)

    def class_names(self) -> tuple[str, ...]:
        """The publishers' names."""
        return self.names


class Mnist(Preset):
    """MNIST: 60,000 and 10,000 handwritten digits, grey 28×28 (LeCun et al. 1998)."""

    name: ClassVar[str] = "mnist"
    names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    servers: ClassVar[tuple[str, ...]] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    sums: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    }


class FashionMnist(Preset):
    """Fashion-MNIST: 60,000 and 10,000 pieces of clothing, grey 28×28 (Xiao et al. 2017)."""

    name: ClassVar[str] = "fashion-mnist"
    licence: ClassVar[str] = "mit"
    names: ClassVar[tuple[str, ...]] = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    servers: ClassVar[tuple[str, ...]] = (
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    )
    sums: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    }


class Kmnist(Preset):
    """Kuzushiji-MNIST: 60,000 and 10,000 cursive Japanese characters, grey 28×28 (Clanuwat et al. 2018)."""

    name: ClassVar[str] = "kmnist"
    licence: ClassVar[str] = "cc-by-sa-4.0"
    names: ClassVar[tuple[str, ...]] = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    servers: ClassVar[tuple[str, ...]] = (
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    )
    sums: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "train-labels-idx1-ubyte.gz": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "t10k-images-idx3-ubyte.gz": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "t10k-labels-idx1-ubyte.gz": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    }
