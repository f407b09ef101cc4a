"""Which versions a run was made with."""

from __future__ import annotations

from importlib.metadata import version

import gandist
from gandist.contract.discovery import installed


def versions() -> dict[str, str]:
    """Distribution → version: gandist, torch, ray, and every plugin's."""
    plugins = {plugin.distribution: plugin.version for plugin in installed().plugins}
    return {"gandist": gandist.__version__, "torch": version("torch"), "ray": version("ray"), **plugins}
