"""Losses whose players can tell the class of a sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gandist.contract.components import Loss, Regularizer
from gandist.contract.turn import as_played


@runtime_checkable
class Classifies(Protocol):
    """What a loss, or one of its regularizers, has if it trains a classifier."""

    def classify(self, players: Mapping[str, nn.Module], images: Tensor) -> Tensor:
        """Class logits (B, K) of images (B, C, H, W) in [-1, 1], or of points (B, D); players are in eval mode."""
        ...


def classifier_of(loss: Loss) -> Classifies | None:
    """Who of the loss and its regularizers trains a classifier: the first of them, or None."""
    return next((one for one in (loss, *loss.regularizers) if isinstance(one, Classifies)), None)


def classifying() -> list[str]:
    """The names of the installed losses and regularizers that train a classifier."""
    from gandist.contract.discovery import installed

    found = (one for kind in (Loss, Regularizer) for one in installed().components(kind))
    return [one.name for one in found if issubclass(one, Classifies)]


def class_logits(loss: Loss, players: Mapping[str, nn.Module], samples: Tensor) -> Tensor:
    """Class logits (B, K), at least float32, of samples as they are read: uint8 (B, C, H, W), or points (B, D).

    The loss must train a classifier.
    """
    classifier = classifier_of(loss)
    assert classifier is not None, f"{loss.name} trains no classifier"
    dtype = next((weight.dtype for player in players.values() for weight in player.parameters()), torch.float32)
    return classifier.classify(players, as_played(samples, dtype))
