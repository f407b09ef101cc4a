"""Images per second of shards against the plain folder of the same images, read in the order of training.

The images of a folder are packed first. Readers are those of a worker: batches in the loop's random order, decoded by
`--loaders` processes ahead, or in this process with 0. Rounds are interleaved, and the first batches of each reader are
left out. Files lie in the page cache of the machine for both, so that the figures are the cost of finding, reading and
decoding; `--drop` has the kernel forget them before every round, where this process may. `--web` adds the same shards
on a web server of this machine, with a cache that takes none of them, so that every sample is asked for by its bytes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from gandist_datasets.image_folder import ImageFolder
from gandist_datasets.packing import pack_folder
from gandist_datasets.shards import Shards
from PIL import Image

from gandist import Source
from gandist.contract.turn import Span
from gandist.training.batches import Batches

FOLDER, SHARDS, ASKED = "folder", "shards", "shards, each sample asked for"
BATCH = 64
WARM_UP = 8
"""Batches of each reader that are left out."""


def make_images(folder: Path, count: int, side: int) -> None:
    """`count` JPEGs of smooth noise in ten class folders: about as large as photos of that size."""
    noise = np.random.default_rng(0)
    for number in range(count):
        below = folder / f"class-{number % 10}"
        below.mkdir(parents=True, exist_ok=True)
        coarse = noise.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(below / f"{number:06d}.jpg")


class Reader:
    """A data set as one worker reads it."""

    def __init__(self, source: Source, loaders: int):
        self._batches = Batches(source, 0, Span(0, BATCH, BATCH), loaders, torch.device("cpu"))
        self._next = 0

    def read(self, batches: int) -> float:
        """Images per second of so many batches."""
        begin = time.perf_counter()
        for _ in range(batches):
            self._batches.take(self._next)
            self._next += 1
        return batches * BATCH / (time.perf_counter() - begin)

    def close(self) -> None:
        self._batches.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A web server that knows ranges, in a process of its own, and its URL."""
    script = Path(__file__).parents[1] / "tests" / "web.py"
    command = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def forget() -> None:
    """Has the kernel forget what it has read of files."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")


def remember() -> None:
    """Leaves the kernel what it has read."""


def measure(
    readers: dict[str, Reader], rounds: int, batches: int, before: Callable[[], None]
) -> dict[str, list[float]]:
    """Images per second of each reader in each round."""
    for reader in readers.values():
        reader.read(WARM_UP)
    rates: dict[str, list[float]] = {name: [] for name in readers}
    names = list(readers)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            before()
            rates[name].append(readers[name].read(batches))
    return rates


def readers_of(folder: Path, packed: Path, url: str | None, size: int, loaders: int) -> dict[str, Source]:
    """The data sets to compare, by name."""
    found: dict[str, Source] = {
        FOLDER: ImageFolder(root=str(folder), size=size, loaders=loaders).open(),
        SHARDS: Shards(root=str(packed), size=size, loaders=loaders).open(),
    }
    if url is not None:
        found[ASKED] = Shards(root=url, size=size, loaders=loaders).open()
    return found


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="images to read; by default made for the purpose")
    parser.add_argument("--count", type=int, default=4000, help="images that are made")
    parser.add_argument("--side", type=int, default=128, help="their height and width")
    parser.add_argument("--size", type=int, default=64, help="what they are scaled to")
    parser.add_argument("--loaders", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=32, help="batches of 64 in a round")
    parser.add_argument("--drop", action="store_true", help="forget what was read before every round; needs root")
    parser.add_argument("--web", action="store_true", help="also from a web server, past the cache")
    given = parser.parse_args()
    if min(given.rounds, given.batches, given.count) < 1:
        parser.error("--rounds, --batches and --count must be at least 1")
    torch.set_num_threads(1)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = given.folder or scratch / "images"
        if given.folder is None:
            make_images(folder, given.count, given.side)
        packed = pack_folder(str(folder), str(scratch / "packed"), shard_size=2**25)
        mean = packed["bytes"] / packed["samples"] / 1000
        print(f"{packed['samples']:,} images of {mean:.0f} kB in {packed['shards']} shards, scaled to {given.size}")
        url = None
        if given.web:
            # Before the loader processes start, which take the environment over.
            os.environ |= {"GANDIST_CACHE": str(scratch / "cache"), "GANDIST_CACHE_LIMIT": "1", "no_proxy": "127.0.0.1"}
            url = stack.enter_context(served(scratch / "packed"))
        sources = readers_of(folder, scratch / "packed", url, given.size, given.loaders)
        readers = {name: Reader(source, given.loaders) for name, source in sources.items()}
        for reader in readers.values():
            stack.callback(reader.close)
        rates = measure(readers, given.rounds, given.batches, forget if given.drop else remember)
    for name, theirs in rates.items():
        ratios = [one / other for one, other in zip(theirs, rates[FOLDER], strict=True)]
        spread = f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"  {name}: {statistics.median(theirs):.0f} images a second; {spread}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
