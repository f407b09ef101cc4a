"""The errors that gandist raises on purpose, and the nearest-name suggestion that most of them carry."""

from collections.abc import Iterable
from difflib import get_close_matches


class GandistError(Exception):
    """Something a user can act on. Its text is the whole message: place, problem, fix. Printed without a traceback."""


class ConfigError(GandistError):
    """The user's mistake: a config, a path, a name, or a cluster that is too small. The command exits with 2."""


class RunError(GandistError):
    """A run that began and failed (not-a-number, out of memory, a plugin that raised). The command exits with 1."""


class NotFiniteError(RunError):
    """A loss or a gradient of a run is NaN or infinite. step: that of the turn, counted from 0."""

    def __init__(self, text: str, step: int = 0):
        super().__init__(text)
        self.step = step


class CheckpointError(GandistError):
    """A checkpoint that is damaged or belongs to another run. The command exits with 2."""


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The known name that comes closest, or None when none comes near."""
    near = get_close_matches(str(name), sorted(known), n=1, cutoff=0.6)
    return near[0] if near else None


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """`"; did you mean gp_weight?"`, or an empty string when nothing known comes near."""
    near = nearest(name, known)
    return f"; did you mean {near}?" if near else ""
