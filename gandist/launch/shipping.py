"""What of a config's code travels to a cluster: gandist and the plugins that it uses, unless an index has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pydantic import BaseModel

from gandist.config.schema import Config
from gandist.contract.component import Component
from gandist.contract.discovery import installed
from gandist.launch.wheel import Wheel, pack

ENGINE = "gandist"


@dataclass(frozen=True)
class Used:
    """A distribution that a config needs. parts: what it brings, as a person would call it: "loss 'mine'"."""

    distribution: Distribution
    parts: tuple[str, ...]

    @property
    def indexed(self) -> bool:
        """Whether it came from a package index, where every node can get it too."""
        record, origin = (self.distribution.read_text(name) for name in ("RECORD", "direct_url.json"))
        return record is not None and origin is None


def used(config: Config) -> dict[str, Used]:
    """Name → distribution of all that a config uses, gandist first; plugins that watch every run are used by all."""
    parts: dict[str, list[str]] = {ENGINE: []}
    for component in _components(config):
        plugin = installed().provider(type(component))
        if plugin is not None:
            told = parts.setdefault(plugin.distribution, [])
            told.append(f"{_word(component)} '{component.name}'")
    for plugin in installed().plugins:
        module = installed().manager.get_plugin(plugin.name)
        if any(name.startswith("gandist_on_") for name in dir(module)):
            parts.setdefault(plugin.distribution, []).append(f"plugin '{plugin.name}'")
    found = {}
    for name, told in parts.items():
        try:
            found[name] = Used(distribution(name), tuple(dict.fromkeys(told)))
        except PackageNotFoundError:
            # Run from a source tree that was never installed, or defined in the script itself.
            continue
    return found


def _components(value: Any) -> Iterator[Component]:
    if isinstance(value, Component):
        yield value
    if isinstance(value, BaseModel):
        inner: Sequence[Any] = [getattr(value, name) for name in type(value).model_fields]
    else:
        inner = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for item in inner:
        yield from _components(item)


def _word(component: Component) -> str:
    return next(kind.__name__.lower() for kind in type(component).__mro__ if kind.__dict__.get("kind"))


def pack_all(found: Mapping[str, Used], folder: Path) -> list[Wheel]:
    """Wheels of all that no index has, in `folder`."""
    provided = brought_along()
    return [pack(one.distribution, folder, provided) for one in found.values() if not one.indexed]


def brought_along() -> set[str]:
    """Canonical names of gandist and all that it requires: whoever can run it has them."""
    seen: set[str] = set()
    waiting = [ENGINE]
    while waiting:
        name = waiting.pop()
        if canonicalize_name(name) in seen:
            continue
        seen.add(canonicalize_name(name))
        waiting += [requirement.name for requirement in requirements(name)]
    return seen


def requirements(name: str) -> list[Requirement]:
    """What a distribution requires here, without its extras; [] if it is not installed."""
    try:
        lines = distribution(name).requires or []
    except PackageNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found.append(requirement)
    return found
