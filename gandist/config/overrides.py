"""What a command line sets: KEY=VALUE."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gandist.config.yaml import read_value
from gandist.errors import ConfigError

_FORM = "write KEY=VALUE, e.g. train.images=5000, loss={name: wgan-gp, d_steps: 3} or loss.regularizers.0.weight=2"
_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True)
class Override:
    """One value for one dotted path. value: None gives the default back. text: as it was typed."""

    path: tuple[str, ...]
    value: Any
    text: str

    @property
    def dotted(self) -> str:
        """The path with dots."""
        return ".".join(self.path)

    @property
    def names_component(self) -> bool:
        """Whether it can replace a whole section: `dataset.name=…`, `dataset=…`."""
        return self.path[-1] == "name" or len(self.path) == 1 or isinstance(self.value, dict)


def read_overrides(overrides: Sequence[str] | Mapping[str, Any]) -> list[Override]:
    """The overrides in their order. Raises ConfigError that shows the form for a malformed one."""
    if isinstance(overrides, Mapping):
        return [_override(str(key), copy.deepcopy(value), str(key)) for key, value in overrides.items()]
    return [_read(text) for text in overrides]


def _read(text: str) -> Override:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{text}: is no override; {_FORM}")
    if not value.strip():
        raise ConfigError(f"{text}: has no value; {key}=null gives the default back")
    return _override(key.strip(), read_value(value, text), text)


def _override(key: str, value: Any, text: str) -> Override:
    if not _KEY.fullmatch(key):
        raise ConfigError(f"{text}: '{key}' is no dotted key; {_FORM}")
    return Override(tuple(key.split(".")), value, text)
