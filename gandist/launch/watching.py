"""Tells watchers what happens. A watcher that fails is switched off with a warning; it never stops or changes a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pluggy

from gandist.config.schema import Config
from gandist.contract import hookspecs
from gandist.contract.discovery import installed
from gandist.training.run import RunView


class Watchers:
    """The watchers of one place, each as the object that its `watch` returned."""

    def __init__(self, config: Config, run: RunView, place: Literal["rank 0", "driver"], warn: Callable[[str], None]):
        self.run, self._warn = run, warn
        self._manager = pluggy.PluginManager("gandist")
        self._manager.add_hookspecs(hookspecs)
        for name, watcher in config.tracking.items():
            if watcher.place == place:
                self._guarded(name, self._begin, name, watcher)
        if place == "rank 0":
            for plugin in installed().manager.get_plugins():
                self._manager.register(plugin, installed().manager.get_name(plugin))

    def _begin(self, name: str, watcher: Any) -> None:
        observer = watcher.watch(self.run)
        if observer is not None:
            self._manager.register(observer, name=f"tracking.{name}")

    def _guarded(self, name: str, call: Callable[..., Any], /, *arguments: Any, **facts: Any) -> None:
        try:
            call(*arguments, **facts)
        except Exception as error:
            self._warn(f"watcher {name} is switched off: {type(error).__name__}: {error}")
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)

    def announce(self, hook: str, **facts: Any) -> None:
        """Calls one hook of every watcher that has it."""
        for implementation in list(getattr(self._manager.hook, hook).get_hookimpls()):
            known = {"run": self.run, **facts}
            wanted = {name: known[name] for name in implementation.argnames}
            self._guarded(implementation.plugin_name, implementation.function, **wanted)

    def tell(self, method: str, *arguments: Any) -> None:
        """Calls a method that only watchers in the driver have (`on_progress`, `on_warning`), where they have it."""
        for name, observer in list(self._manager.list_name_plugin()):
            if observer is not None and hasattr(observer, method):
                self._guarded(name, getattr(observer, method), *arguments)
