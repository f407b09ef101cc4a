"""The real samples that generated ones are compared with: their parts, their features, and what is kept of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from gandist.contract.components import Source
from gandist.contract.facts import Facts
from gandist.contract.scoring import Part, Scored
from gandist.data.cache import cache_folder
from gandist.evaluation.cache import Stored, remembered
from gandist.evaluation.fitting import data_key, held_out, order

VERSION = 2
"""Changes whenever the same data would give other statistics."""
MOST_REFERENCE = 10_000
_BATCH = 250


def halves(source: Source, count: int) -> tuple[Tensor, Tensor]:
    """Two disjoint sets of indices: the reference half (at most 10,000), and as many others as samples are scored.

    Both are fair draws from the whole source, a classifier's training samples included, so that what differs in the
    distance between them is chance alone. The second is smaller than `count` where the source has no more.
    """
    shuffled = order(source, "halves")
    half = len(source) // 2
    return shuffled[:half][:MOST_REFERENCE], shuffled[half:][:count]


def weights_sha256(network: nn.Module) -> str:
    """Of names, shapes and values of all weights and buffers, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def extracted(network: nn.Module | None, batch: Scored, device: torch.device) -> Scored:
    """The batch on the device with its features, and logits if the network gives some."""
    batch = replace(batch, samples=_on(batch.samples, device), labels=_on(batch.labels, device))
    if network is None:
        return batch
    made = network(batch.samples)
    features, logits = made if isinstance(made, tuple) else (made, None)
    return replace(batch, features=features, logits=logits)


def _on(tensor: Tensor | None, device: torch.device) -> Tensor | None:
    return None if tensor is None else tensor.to(device)


def joined(parts: list[Scored]) -> Scored:
    """The rows of several batches, without the samples."""

    def rows(name: str) -> Tensor | None:
        found = [getattr(part, name) for part in parts]
        return None if not found or found[0] is None else torch.cat(found)

    return Scored(None, rows("features"), rows("logits"), rows("labels"))


@dataclass(frozen=True, eq=False)
class RealSamples:
    """What metrics may ask of the real samples; see `Real`.

    count: generated samples that are scored. network: of the feature space, on the device, called `space`; None where
    there is none.
    """

    source: Source
    count: int
    device: torch.device
    network: nn.Module | None = None
    space: str = ""

    @property
    def facts(self) -> Facts:
        """Of the data set."""
        return self.source.facts

    def indices(self, part: Part | Literal["others"], limit: int | None = None) -> Tensor:
        """Which samples a part holds, int64; "others": the other half's, as many as samples are scored."""
        if part == "held out":
            found = held_out(self.source)[1]
        elif part == "all":
            # A limit takes a fair draw.
            found = torch.arange(len(self.source)) if limit is None else order(self.source, "all")
        else:
            found = halves(self.source, self.count)[part == "others"]
        return found[:limit]

    def batches(self, part: Part | Literal["others"], limit: int | None = None) -> Iterator[Scored]:
        """The samples and labels of a part, 250 at a time."""
        for chunk in self.indices(part, limit).split(_BATCH):
            read = self.source.read(chunk.tolist())
            yield Scored(read["real"], labels=read.get("labels"))

    @torch.no_grad()
    def rows(self, part: Part, limit: int | None = None) -> Scored:
        """Features, logits and labels of a part, on the CPU; those of the reference half are made once per machine."""

        def make() -> Stored:
            parts = [extracted(self.network, batch, self.device) for batch in self.batches(part, limit)]
            rows = {name: value for name, value in vars(joined(parts)).items() if value is not None}
            return {name: value.cpu() for name, value in rows.items()}, {}

        kept = self.kept("reference", make) if part == "reference" and limit is None else make()
        return Scored(**kept[0])

    def kept(self, about: str, make: Callable[[], Stored]) -> Stored:
        """What the cache has of these data in this feature space under `about`, made first if need be."""
        name = f"{data_key(self.facts)}-{self.space or 'samples'}-{about}-v{VERSION}"

        def marked() -> Stored:
            tensors, texts = make()
            return tensors, {**texts, "of": name}

        path = cache_folder() / "references" / f"{name}.safetensors"
        return remembered(path, marked, lambda stored: _whole(stored, name))


def _whole(stored: Stored, name: str) -> bool:
    """Whether a cached file is what it is called, and holds finite numbers."""
    tensors, texts = stored
    return texts.get("of") == name and all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def digest(value: Mapping[str, object] | str) -> str:
    """A short name for what a component was set to."""
    return hashlib.blake2b(repr(value).encode(), digest_size=6).hexdigest()
