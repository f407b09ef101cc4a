"""Checkpoints: written whole or not at all, verified before use, loaded without running any pickle.

A folder `step-00001000/` holds networks.safetensors, state.pt (optimizers and progress, for `weights_only=True`),
config.yaml and manifest.json, which has size and SHA-256 of the others and is what makes it whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gandist.errors import CheckpointError
from gandist.training.foreign import packed, read_json

NETWORKS, STATE, CONFIG, MANIFEST = "networks.safetensors", "state.pt", "config.yaml", "manifest.json"
_NAME = re.compile(r"step-(\d{8,})")


def sync_folder(folder: Path) -> None:
    """Makes the entries of a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all: a temporary name, fsync, rename."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """A safetensors file, whole or not at all."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary, metadata)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def name_of(step: int) -> str:
    """The name of a checkpoint's folder."""
    return f"step-{step:08d}"


def step_of(path: Path) -> int | None:
    """The step in a checkpoint folder's name, or None if it is not one."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


@dataclass(frozen=True)
class Kept:
    """Which checkpoints stay: the newest ones, the one of the step `best` if there is one, and those of the steps
    `pending`, which are still to be scored."""

    newest: int
    best: int | None = None
    pending: tuple[int, ...] = ()

    def others(self, paths: Sequence[Path]) -> list[Path]:
        """Of checkpoints, newest first, those that do not stay."""
        return [path for path in paths[self.newest :] if step_of(path) not in (self.best, *self.pending)]


def save(
    folder: Path,
    step: int,
    networks: Mapping[str, Tensor],
    state: Mapping[str, Any],
    config: str,
    about: Mapping[str, Any],
    kept: Kept,
) -> Path:
    """Writes `folder/step-N` and deletes the checkpoints that are not kept, in this order.

    networks: flat tensors by name. state: what torch.load reads with weights_only. about: more entries of the manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name_of(step)
    temporary = folder / f"{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        temporary.mkdir()
        write_tensors(temporary / NETWORKS, networks)
        torch.save(dict(state), temporary / STATE)
        (temporary / CONFIG).write_text(config)
        files = {name: _fingerprint(temporary / name) for name in (NETWORKS, STATE, CONFIG)}
        write_file(temporary / MANIFEST, json.dumps({"step": step, **about, "files": files}, indent=1).encode())
        for name in (STATE, CONFIG):
            with (temporary / name).open("rb") as file:
                os.fsync(file.fileno())
        if path.exists():
            # A damaged one, or the same step once more after going back to an earlier checkpoint.
            shutil.rmtree(path)
        temporary.rename(path)
        sync_folder(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in kept.others(checkpoints(folder)):
        shutil.rmtree(old, ignore_errors=True)
    return path


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoint folders in a folder, newest first, whole or not."""
    if not folder.is_dir():
        return []
    found = [(step, path) for path in folder.iterdir() if (step := step_of(path)) is not None]
    return [path for _, path in sorted(found, reverse=True)]


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint folder ("networks.safetensors is 10 bytes long, should be 300"), or None."""
    try:
        expected = dict(read_json(path / MANIFEST)["files"])
        if set(expected) != {NETWORKS, STATE, CONFIG}:
            return f"{MANIFEST} lists {', '.join(map(repr, sorted(expected)[:4]))}, not what a checkpoint holds"
        for name, entry in expected.items():
            if not (path / name).is_file():
                return f"{name} is missing"
            if (size := (path / name).stat().st_size) != entry["size"]:
                return f"{name} has {size} bytes, should have {entry['size']}"
            if _fingerprint(path / name)["sha256"] != entry["sha256"]:
                return f"{name} has another SHA-256 than {MANIFEST} says"
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{MANIFEST} cannot be read ({type(error).__name__}: {error})"
    return None


def newest(folder: Path) -> tuple[Path | None, dict[Path, str]]:
    """The newest whole checkpoint, and the damaged ones that are newer, with what is wrong with each."""
    damaged: dict[Path, str] = {}
    for path in checkpoints(folder):
        wrong = damage(path)
        if wrong is None:
            return path, damaged
        damaged[path] = wrong
    return None, damaged


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Networks (flat tensors by name) and state of a whole checkpoint. Raises CheckpointError naming what is wrong."""
    if (wrong := damage(path)) is not None:
        raise CheckpointError(f"{path}: damaged checkpoint: {wrong}")
    if (wrong := packed(path / STATE)) is not None:
        raise CheckpointError(f"{path}: {STATE} was refused: {wrong}")
    try:
        return load_file(path / NETWORKS), torch.load(path / STATE, weights_only=True, map_location="cpu")
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise CheckpointError(f"{path}: cannot be loaded: {error}") from error
    except Exception as error:
        # torch names what its restricted unpickler refused; nothing of it was executed.
        raise CheckpointError(f"{path}: {STATE} was refused: {str(error).splitlines()[0]}") from error


def manifest(path: Path) -> dict[str, Any]:
    """The manifest of a whole checkpoint: step, id of the run, images, versions, facts of the data set, files."""
    return read_json(path / MANIFEST)
