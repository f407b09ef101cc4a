"""Whether the rows of a table that is trained on fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gandist import ConfigError
from gandist_datasets.table_reading import TableFile

COPIES = 2
"""Times that the numbers are in memory while the columns are put together."""
MEMORY = Path("/proc/meminfo")


def free_memory() -> int | None:
    """Bytes that may be taken without swapping, None where the system does not say."""
    try:
        lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return None


def require_room(file: TableFile, columns: Sequence[str]) -> None:
    """Raises ConfigError where these columns would not fit into memory, before any of their rows is read."""
    needed, free = COPIES * file.unpacked(len(columns)), free_memory()
    if free is not None and needed > free:
        raise ConfigError(
            f"{file.path} takes about {needed / 2**30:.1f} GiB of memory to train on, and {free / 2**30:.1f} GiB are "
            "free; train on some of its rows, or name columns in dataset.leave_out (gandist score reads files of any "
            "size)"
        )
