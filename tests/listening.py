"""Which addresses the processes of a tree listen on, as the kernel says it."""

from __future__ import annotations

import ipaddress
from pathlib import Path

LISTEN = "0A"
"""State of a listening socket in /proc/net/tcp (Linux, include/net/tcp_states.h)."""


def address(text: str) -> str:
    """An address of /proc/net/tcp or tcp6, hexadecimal in words of the machine's byte order."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    found = ipaddress.ip_address(b"".join(words))
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def listening_sockets() -> dict[str, str]:
    """Inode → address of every listening TCP socket of this machine."""
    found = {}
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[3] == LISTEN:
                host, _, port = fields[1].rpartition(":")
                found[fields[9]] = f"{address(host)} port {int(port, 16)}"
    return found


def sockets(pid: int) -> set[str]:
    """Inodes of the sockets that a process has open; none if it is gone."""
    found = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            target = str(entry.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass
    return found


def listeners(pids: list[int]) -> set[str]:
    """The addresses that any of these processes listens on: "127.0.0.1 port 6379"."""
    table = listening_sockets()
    return {table[inode] for pid in pids for inode in sockets(pid) if inode in table}


def outside(addresses: set[str]) -> set[str]:
    """Those that other machines can reach."""
    return {one for one in addresses if not ipaddress.ip_address(one.split()[0]).is_loopback}
