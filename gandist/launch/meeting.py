"""How the ranks find each other: on one machine in a file, because torch's own meeting point is a server that listens
on all interfaces; on a cluster as Ray does it, on the network interface that the config names."""

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


@dataclass
class JoinedTorchConfig(TorchConfig):
    """Ray's set-up of torch's process group, for ranks on a cluster. network: the interface they use, None for any."""

    network: str | None = None

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """What Ray calls when the workers have started."""
        return _JoinedBackend


class _JoinedBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: JoinedTorchConfig) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if backend_config.network is not None:
            worker_group.execute(_speak_through, backend_config.network)
        super().on_start(worker_group, backend_config)


def _speak_through(network: str) -> None:
    """Runs on the worker, before its process group is made."""
    os.environ["GLOO_SOCKET_IFNAME"] = network
    # With "=" for this very interface: NCCL takes a bare name for the beginning of names.
    os.environ["NCCL_SOCKET_IFNAME"] = f"={network}"


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
