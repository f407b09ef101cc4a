"""How many images of which class are wanted."""

from __future__ import annotations

import re
from pathlib import Path

import torch
import yaml
from torch import Tensor

from gandist.contract.components import Source
from gandist.contract.facts import Facts
from gandist.errors import ConfigError, did_you_mean
from gandist.using.trained import Trained

MOST = 1_000_000
"""Images of one class."""
_FORM = "write a mapping of classes to numbers, e.g. --counts '{cat: 500, dog: 200}', or the name of a YAML file of one"
_READ = 1000
_LONGEST = 1_000_000
"""Characters of a file of counts."""


def require_labelled(trained: Trained) -> None:
    """Raises ConfigError if the generator cannot make images of a class that is asked for."""
    if not hasattr(trained.generator, "draw"):
        raise ConfigError(
            f"{trained.path}: its generator makes nothing of noise alone, so there are no samples to label"
        )
    if not trained.facts.images:
        raise ConfigError(f"{trained.path}: makes points, and a labelled data set is one of images")
    if trained.facts.classes < 2:
        raise ConfigError(
            f"{trained.path}: its data set has no labels, so nothing can be asked of a class; sort the images into "
            "class folders and train a conditional generator, as configs/conditional-digits.yaml does"
        )
    if not trained.conditional:
        raise ConfigError(
            f"{trained.path}: this generator heeds no labels, so it cannot be asked for a class; train a conditional "
            "one, as configs/conditional-digits.yaml does (architecture.conditioning)"
        )


def names(facts: Facts) -> tuple[str, ...]:
    """One name a class: the data set's, or the labels, as wide as the largest so that they sort."""
    width = len(str(facts.classes - 1))
    if len(facts.class_names) == facts.classes:
        return facts.class_names
    return tuple(f"{label:0{width}d}" for label in range(facts.classes))


def alike(facts: Facts, each: int) -> dict[int, int]:
    """So many of each class: label → number."""
    if not 1 <= each <= MOST:
        raise ConfigError(f"--per-class {each}: from 1 to {MOST:,} images of a class can be made")
    return dict.fromkeys(range(facts.classes), each)


def listed(facts: Facts, given: str) -> dict[int, int]:
    """What `--counts` says, a mapping in YAML or the name of a file of one: label → number, from 0.

    A class goes by its name or by its label. Raises ConfigError for a class that is not there, or twice, and for what
    is no number of images.
    """
    inline = given.lstrip().startswith("{")
    place = f"--counts {given}"
    found: dict[int, int] = {}
    for key, number in _pairs(given if inline else _text(Path(given), place), place):
        label = _label(facts, key, place)
        if label in found:
            raise ConfigError(f"{place}: class {key} is there twice; leave one out")
        if not re.fullmatch(r"\d{1,9}", number) or int(number) > MOST:
            raise ConfigError(f"{place}: class {key} should be a number of images from 0 to {MOST:,}, is {number}")
        found[label] = int(number)
    if not any(found.values()):
        raise ConfigError(f"{place}: asks for no image at all; {_FORM}")
    return dict(sorted(found.items()))


def _text(path: Path, place: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{place}: cannot be read as a file: {reason}; {_FORM}") from None
    if len(text) > _LONGEST:
        raise ConfigError(f"{place}: is longer than {_LONGEST:,} characters; {_FORM}")
    return text


def _pairs(text: str, place: str) -> list[tuple[str, str]]:
    """Keys and values of a mapping of scalars as they are written: 007 and yes are names of classes, too."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{place}: cannot be read as YAML: {' '.join(str(error).split())[:200]}; {_FORM}") from None
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    if not pairs or not all(isinstance(one, yaml.ScalarNode) for pair in pairs for one in pair):
        raise ConfigError(f"{place}: {_FORM}")
    return [(key.value, number.value) for key, number in pairs]


def _label(facts: Facts, key: str, place: str) -> int:
    known = names(facts)
    if key in known:
        return known.index(key)
    if key.isdecimal() and int(key) < facts.classes:
        return int(key)
    shown = f"{', '.join(known[:20])}{', …' if len(known) > 20 else ''}"
    raise ConfigError(f"{place}: there is no class {key}; classes: {shown}{did_you_mean(key, known)}")


def missing(source: Source) -> dict[int, int]:
    """What each class of a labelled source lacks to be as large as the largest: label → number, from 0.

    Raises ConfigError if none lacks any.
    """
    counted = torch.bincount(labels_of(source), minlength=source.facts.classes)
    lacking = (counted.max() - counted).tolist()
    if not any(lacking):
        raise ConfigError(
            f"--balance: all {source.facts.classes} classes have {int(counted.max()):,} images already; ask for "
            "--per-class N to add to them"
        )
    if max(lacking) > MOST:
        raise ConfigError(f"--balance: a class lacks {max(lacking):,} images, more than {MOST:,}; give --counts")
    return dict(enumerate(lacking))


def labels_of(source: Source) -> Tensor:
    """The labels of all samples, int64 (N,)."""
    parts = [range(start, min(len(source), start + _READ)) for start in range(0, len(source), _READ)]
    return torch.cat([source.read(part)["labels"] for part in parts])
