"""What may differ between a run and the command that goes on with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gandist.config.places import shown

_FREE = ("cluster", "tracking", "evaluate")
_FREE_IN_TRAIN = ("images", "log_every", "sample_every", "save_every", "keep", "hours", "checkpoint_activations")
_ABSENT = object()


def forbidden_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The differences that make `new` another run than `old`, "train.batch_size: 64 → 32"; [] if there are none.

    old, new: complete configs as plain mappings. How long a run lasts, where, and what is told of it may change.
    """
    free = {(section,) for section in _FREE} | {("train", key) for key in _FREE_IN_TRAIN}
    return [
        f"{'.'.join(path)}: {_told(before)} → {_told(after)}"
        for path, before, after in _differences(old, new, ())
        if not any(path[: len(prefix)] == prefix for prefix in free)
    ]


def _differences(old: Any, new: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(old.get(key, _ABSENT), new.get(key, _ABSENT), (*path, str(key)))
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, after, (*path, str(index)))
    # A key that an older version did not know asks for nothing as long as it is null.
    elif old != new and not (old is _ABSENT and new is None):
        yield path, old, new


def _told(value: Any) -> str:
    return "absent" if value is _ABSENT else shown(value)
