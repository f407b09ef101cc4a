"""Trains the feature classifier on a labelled source, once per machine."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from gandist.contract.components import Source
from gandist.contract.facts import Facts
from gandist.contract.noise import key
from gandist.data.cache import cache_folder
from gandist.evaluation.cache import Stored, remembered
from gandist.evaluation.classifier import Classifier, shrink

MOST_TRAINED, MOST_HELD_OUT = 20_000, 4_000
_BATCH = 64
_SHOWN = 120_000
"""Images shown in the whole training, at least 2 and at most 16 times each."""
_SHIFT = 1
_VERSION = 1
"""Changes whenever the same data would give another classifier."""


def order(source: Source, purpose: str) -> Tensor:
    """A fixed shuffle of a source's indices, int64 (N,)."""
    return torch.randperm(len(source), generator=torch.Generator().manual_seed(key("evaluation", purpose)))


def held_out(source: Source) -> tuple[Tensor, Tensor]:
    """Indices for training (four fifths, at most 20,000) and held out from it (one fifth, at most 4,000)."""
    shuffled = order(source, "held out")
    cut = max(1, len(source) // 5)
    return shuffled[cut:][:MOST_TRAINED], shuffled[:cut][:MOST_HELD_OUT]


def read(source: Source, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Shrunk images (N, C, h, w) and labels (N,) of these samples, a thousand at a time in full size."""
    parts = [source.read(chunk.tolist()) for chunk in indices.split(1000)]
    return torch.cat([shrink(part["real"]) for part in parts]), torch.cat([part["labels"] for part in parts])


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """The batch moved by up to one pixel each way, its border repeated."""
    down, right = torch.randint(0, 2 * _SHIFT + 1, (2,), generator=generator).tolist()
    height, width = images.shape[-2:]
    padded = F.pad(images.float(), [_SHIFT] * 4, mode="replicate").to(torch.uint8)
    return padded[..., down : down + height, right : right + width]


@torch.no_grad()
def classify(classifier: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits of many images, on the classifier's device, some hundred at a time."""
    device = classifier.head.weight.device
    parts = [classifier(part.to(device)) for part in images.split(250)]
    return torch.cat([features for features, _ in parts]), torch.cat([logits for _, logits in parts])


def train_classifier(training: tuple[Tensor, Tensor], tests: tuple[Tensor, Tensor], classes: int) -> Classifier:
    """A classifier in eval mode, trained on the device of its training images; its `accuracy` is that on the tests.

    training, tests: images uint8 (N, C, H, W) of any size with labels int64 (N,).
    Everything random is fixed, and the global random state stays as it was. Adam (Kingma & Ba 2015) with a learning
    rate that falls to 0 along a cosine, on batches of 64 that are shifted by up to a pixel.
    """
    images, labels = shrink(training[0]), training[1]
    generator = torch.Generator().manual_seed(key("evaluation", "batches"))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key("evaluation", "weights"))
        classifier = Classifier(images.shape[1], classes).to(images.device)
    epochs = min(16, max(2, round(_SHOWN / len(images))))
    steps = epochs * -(-len(images) // _BATCH)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with torch.enable_grad():
        for _ in range(epochs):
            for rows in torch.randperm(len(images), generator=generator).to(images.device).split(_BATCH):
                _, logits = classifier(_shifted(images[rows], generator))
                optimizer.zero_grad()
                F.cross_entropy(logits, labels[rows]).backward()
                optimizer.step()
                schedule.step()
    classifier.eval().requires_grad_(False)
    _, logits = classify(classifier, tests[0])
    classifier.accuracy = float((logits.argmax(1).cpu() == tests[1].cpu()).double().mean())
    return classifier


def fit(source: Source, device: torch.device) -> Classifier:
    """A classifier of the source, whose accuracy is that on samples held out from the training."""
    training, holding = held_out(source)
    images, labels = (rows.to(device) for rows in read(source, training))
    return train_classifier((images, labels), read(source, holding), source.facts.classes)


def data_key(facts: Facts) -> str:
    """What names the data set in the cache."""
    about = repr((facts.fingerprint, facts.shape, facts.classes, facts.size))
    return hashlib.blake2b(about.encode(), digest_size=12).hexdigest()


def fitted_classifier(source: Source, device: torch.device) -> Classifier:
    """A classifier of a labelled source of images, in eval mode on `device`; trained there, or from the cache.

    Its hidden layer of 64 is the feature space `classifier`; `accuracy` is that on held-out samples. The source needs
    at least 2 classes and 4 samples.
    """
    facts = source.facts
    with torch.random.fork_rng(devices=[]):
        classifier = Classifier(facts.shape[0], facts.classes)
    shapes = {name: tensor.shape for name, tensor in classifier.state_dict().items()}

    def trained() -> Stored:
        fitted = fit(source, device)
        return fitted.state_dict(), {"accuracy": repr(fitted.accuracy)}

    def fits(stored: Stored) -> bool:
        tensors, about = stored
        try:
            finite = math.isfinite(float(about["accuracy"]))
        except (KeyError, ValueError):
            return False
        return finite and {name: tensor.shape for name, tensor in tensors.items()} == shapes

    path = cache_folder() / "classifiers" / f"{data_key(facts)}-v{_VERSION}.safetensors"
    weights, about = remembered(path, trained, fits)
    classifier.load_state_dict(weights)
    classifier.accuracy = float(about["accuracy"])
    return classifier.to(device).eval().requires_grad_(False)
