"""What this machine offers for training, what is missing, and how to get it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gandist.config.storage import is_url
from gandist.contract.discovery import installed
from gandist.evaluation.cache import cache_folder
from gandist.launch import resources

SPACE = 2 * 2**30
"""Free bytes below which a run may not be able to save."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at. fix: how to get it where `ok` is false. facts: what was found, for programs."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def examine_machine(storage: str) -> list[Finding]:
    """What this machine offers. storage: `cluster.storage` as a run would get it."""
    return [*_packages(), *_plugins(), *_machine(storage)]


def _packages() -> Iterator[Finding]:
    for name in ("torch", "ray", "pluggy", "pydantic", "wandb", "safetensors", "pillow"):
        try:
            yield Finding(name, True, version(name))
        except PackageNotFoundError:
            yield Finding(name, False, "not installed", f"pip install {name}")
    onnx = find_spec("onnx") is not None and find_spec("onnxscript") is not None
    yield Finding("onnx export", True, "available" if onnx else "not installed (pip install 'gandist[onnx]')")


def _plugins() -> Iterator[Finding]:
    for plugin in installed().plugins:
        title = f"plugin {plugin.name}"
        what = f"{plugin.distribution} {plugin.version}"
        if plugin.error:
            yield Finding(
                title, False, f"{what}: {plugin.error}", "reinstall it, or GANDIST_DISABLE_PLUGINS=" + plugin.name
            )
        else:
            yield Finding(title, True, f"{what}, {len(plugin.components)} components")


def _machine(storage: str) -> Iterator[Finding]:
    import torch

    here = resources.this_machine()
    yield Finding("CPU cores", True, f"{here.cpus}; up to {here.cpus * resources.OVERSUBSCRIBE} CPU workers")
    names = [torch.cuda.get_device_name(index) for index in range(here.gpus)]
    yield Finding("GPUs", True, ", ".join(names) or "none; training runs on CPUs")
    yield _writable("cache folder", cache_folder(), "set GANDIST_CACHE to a writable folder")
    if not is_url(storage):
        yield _writable("runs folder", Path(storage).absolute(), "set cluster.storage to a writable folder")
    shared = Path("/dev/shm")  # Ray's object store and the loader processes share memory through it.
    if shared.is_dir():
        free = shutil.disk_usage(shared).free
        enough = free >= 128 * 2**20
        yield Finding(
            "/dev/shm", enough, f"{free / 2**20:.0f} MiB free", "" if enough else "give the container --shm-size=1g"
        )


def _writable(name: str, folder: Path, fix: str) -> Finding:
    there = folder
    while not there.exists():
        there = there.parent
    if not (there.is_dir() and os.access(there, os.W_OK)):
        return Finding(name, False, f"{folder} cannot be written", fix)
    free = shutil.disk_usage(there).free
    detail = f"{folder}, {free / 2**30:.1f} GiB free"
    return Finding(name, free >= SPACE, detail, "" if free >= SPACE else "free some space, or " + fix)
