"""Imports that take seconds, while something else is waited for."""

from __future__ import annotations

import threading
from importlib import import_module


def import_meanwhile(module: str) -> None:
    """Imports a module on a thread; whoever needs it then imports it as usual, and waits for the rest at most."""
    threading.Thread(target=import_module, args=(module,), name="imports", daemon=True).start()
