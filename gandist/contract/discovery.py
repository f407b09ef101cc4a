"""Finds the installed plugins by the entry points of group `gandist` and keeps what they provide, by kind and name."""

from __future__ import annotations

import inspect
import os
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar, cast

import pluggy
from pydantic_core import PydanticCustomError

from gandist.contract import hookspecs
from gandist.contract.component import Component
from gandist.contract.components import KINDS
from gandist.errors import ConfigError, did_you_mean, nearest

Kind = TypeVar("Kind", bound=Component)


@dataclass
class Plugin:
    """One entry point. `error` says why it is broken, in one line; None when it works."""

    name: str
    distribution: str
    version: str
    module: str
    error: str | None = None
    components: list[type[Component]] = field(default_factory=list)


@dataclass
class Registry:
    """All plugins, and all components by kind and name."""

    plugins: list[Plugin]
    manager: pluggy.PluginManager
    by_name: dict[str, dict[str, type[Component]]]

    @property
    def broken(self) -> list[Plugin]:
        """Plugins that could not be loaded."""
        return [plugin for plugin in self.plugins if plugin.error]

    def components(self, kind: type[Component]) -> list[type[Component]]:
        """The components of a kind, each once, sorted by name."""
        return sorted(set(self.by_name[kind.kind].values()), key=lambda component: component.name)

    def provider(self, component: type[Component]) -> Plugin | None:
        """The plugin that a component comes from."""
        return next((plugin for plugin in self.plugins if component in plugin.components), None)

    def choose(self, kind: type[Kind], value: Any) -> tuple[type[Kind], dict[str, Any]]:
        """The component that a mapping or a bare name asks for, and its other fields.

        Raises a PydanticCustomError of type `component`; its text goes into the config's problem list as it is.
        """
        value = {"name": value} if isinstance(value, str) else value
        known = self.by_name[kind.kind]
        installed_names = f"installed: {', '.join(sorted(known)) or 'none'}"
        if not isinstance(value, Mapping):
            raise _refusal(f"should be {kind.singular()}, {{name: …}}, is {value!r}; {installed_names}")
        if not isinstance(value.get("name"), str):
            raise _refusal(f"needs the name of {kind.singular()}; {installed_names}")
        name = value["name"]
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean '{near}'? " if near else ""
            known_names = f"{hint}{installed_names}{self._culprits()}  (gandist plugins)"
            raise _refusal(f"unknown {kind.__name__.lower()} '{name}'; {known_names}")
        return cast(type[Kind], known[name]), {k: v for k, v in value.items() if k != "name"}

    def _culprits(self) -> str:
        if not self.broken:
            return ""
        broken = "; ".join(f"{plugin.name} of {plugin.distribution}: {plugin.error}" for plugin in self.broken)
        return f"; perhaps it belongs to a plugin that could not be loaded ({broken})"


def _refusal(text: str) -> PydanticCustomError:
    return PydanticCustomError("component", "{text}", {"text": text})


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]


def defined_in(package: str, kind: type[Kind]) -> list[type[Kind]]:
    """The named components of a kind that the modules of a package define, not those that they merely import.

    package: its name, `__name__` in its `__init__`. A hook that returns this needs no list: a new component is a new
    file.
    """
    paths = import_module(package).__path__
    modules = [import_module(f"{package}.{module.name}") for module in pkgutil.iter_modules(paths)]
    return [
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type)
        and issubclass(found, kind)
        and found.__module__ == module.__name__
        and not found.abstract()
    ]


def disabled_plugins() -> set[str]:
    """Names in GANDIST_DISABLE_PLUGINS."""
    return {name.strip() for name in os.environ.get("GANDIST_DISABLE_PLUGINS", "").split(",") if name.strip()}


def discover(points: Iterable[EntryPoint]) -> Registry:
    """Loads the plugins of these entry points. A broken one is kept with its error and disables nothing else.

    Broken is also one with a misspelt hook. Raises ConfigError for two plugins or two components with one name.
    """
    manager = pluggy.PluginManager("gandist")
    manager.add_hookspecs(hookspecs)
    registry = Registry([], manager, {kind.kind: {} for kind in KINDS})
    # pluggy's own loader silently skips a second distribution with the same entry-point name.
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        if point.name in disabled_plugins():
            continue
        owner = point.dist
        plugin = Plugin(point.name, owner.name if owner else "?", owner.version if owner else "?", point.value)
        twin = next((other for other in registry.plugins if other.name == plugin.name), None)
        if twin is not None and (twin.distribution, twin.module) == (plugin.distribution, plugin.module):
            continue
        if twin is not None:
            raise ConfigError(
                f"two plugins are called '{plugin.name}': {twin.module} of {twin.distribution} and {plugin.module} of "
                f"{plugin.distribution}; uninstall one, or rename its entry point"
            )
        registry.plugins.append(plugin)
        try:
            loaded = point.load()
        except (Exception, SystemExit) as error:
            plugin.error = _one_line(error)
            continue
        _register(registry, plugin, loaded)
    return registry


def _register(registry: Registry, plugin: Plugin, loaded: Any) -> None:
    """Adds one loaded plugin and its components. A hook that fails breaks this plugin only."""
    manager = registry.manager
    try:
        if misuse := _misuse(loaded):
            raise TypeError(misuse)
        manager.register(loaded, name=plugin.name)
        manager.check_pending()
    except Exception as error:
        # Without its type: the text says what to mend in the plugin.
        plugin.error = " ".join(str(error).split())[:300]
        if manager.get_plugin(plugin.name) is not None:
            manager.unregister(name=plugin.name)
        return
    for kind in KINDS:
        hook: Callable[[], list[type[Component]]] | None = getattr(loaded, f"gandist_{kind.kind}", None)
        if hook is None:
            continue
        try:
            provided = list(hook())
            wrong = [c for c in provided if not (isinstance(c, type) and issubclass(c, kind) and not c.abstract())]
            if wrong:
                raise TypeError(f"gandist_{kind.kind}() returned {wrong[0]!r}, which is no named {kind.__name__}")
        except Exception as error:
            plugin.error = _one_line(error)
            continue
        for component in provided:
            _add(registry, plugin, kind, component)


def _misuse(loaded: Any) -> str:
    """What is wrong with the hooks of a plugin, or an empty string. pluggy would silently pass over such functions."""
    known, wrong = [name for name in vars(hookspecs) if name.startswith("gandist_")], []
    for name in dir(loaded):
        hook = getattr(loaded, name)
        if not name.startswith("gandist_") or not inspect.isroutine(hook):
            continue
        if name not in known:
            wrong.append(f"unknown hook {name}{did_you_mean(name, known)}")
        elif not hasattr(hook, "gandist_impl"):
            wrong.append(f"hook {name} is not marked with @hookimpl")
    return "; ".join(wrong)


def _add(registry: Registry, plugin: Plugin, kind: type[Component], component: type[Component]) -> None:
    known = registry.by_name[kind.kind]
    for name in (component.name, *component.aliases):
        if name in known and known[name] is not component:
            twin = known[name]
            other = registry.provider(twin)
            raise ConfigError(
                f"two {kind.kind} are called '{name}': {twin.__module__}.{twin.__qualname__} of "
                f"{other.distribution if other else '?'} and {component.__module__}.{component.__qualname__} of "
                f"{plugin.distribution}; uninstall one, or switch one off: GANDIST_DISABLE_PLUGINS={plugin.name}"
            )
        known[name] = component
    plugin.components.append(component)


@cache
def installed() -> Registry:
    """The registry of what is installed, discovered once per process."""
    return discover(entry_points(group="gandist"))
