"""How the ranks of a local run find each other: in a file, because torch's own meeting point is a server that listens
on all interfaces."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train.torch import TorchConfig
from ray.train.torch.config import _setup_torch_process_group, _TorchBackend


@dataclass
class LocalTorchConfig(TorchConfig):
    """Ray's set-up of torch's process group, for ranks on one machine. folder: one that they all see."""

    folder: str = ""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """What Ray calls when the workers have started."""
        return _LocalBackend


class _LocalBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: LocalTorchConfig) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        # Another file for each attempt: the one before is full of addresses of dead processes.
        place = f"file://{Path(backend_config.folder, secrets.token_hex(8))}"
        backend, world, seconds = backend_config.backend, len(worker_group), backend_config.timeout_s
        ray.get(
            [
                worker_group.execute_single_async(rank, _join, backend, rank, world, place, seconds)
                for rank in range(world)
            ]
        )


def _join(backend: str, rank: int, world: int, place: str, seconds: int) -> None:
    """Runs on the worker."""
    if "lo" in (name for _, name in socket.if_nameindex()):
        # Both would take the interface that the host's name stands for.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    _setup_torch_process_group(backend, rank, world, place, seconds)
