"""The folder of a sweep, local or on object storage: the trials' run folders, ledger, table, best config."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gandist.config.storage import is_url, run_url, shown
from gandist.errors import ConfigError, RunError
from gandist.launch import folder as folders
from gandist.launch.ownership import Ownership
from gandist.training.checkpoint import write_file
from gandist.training.objects import Objects

RESULTS, TABLE, BEST = "results.json", "results.csv", "best.yaml"


@dataclass
class SweepFolder:
    """place: a folder, or a URL without its query, as the user knows it."""

    place: Path | str
    objects: Objects | None = None
    warnings: list[str] = field(default_factory=list)

    def read(self, name: str) -> str | None:
        """A file, None if there is none. Raises ConfigError if it cannot be read."""
        try:
            if self.objects is not None:
                content = self.objects.read(name)
                return None if content is None else content.decode()
            path = Path(self.place, name)
            return path.read_text(encoding="utf-8") if path.is_file() else None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.place}/{name}: cannot be read: {error}") from error

    def write(self, name: str, text: str) -> None:
        """Writes a file whole or not at all. Raises RunError."""
        try:
            if self.objects is not None:
                self.objects.write(name, text.encode())
            else:
                write_file(Path(self.place, name), text.encode())
        except OSError as error:
            raise RunError(f"{self.place}/{name}: cannot be written: {error}; the same command goes on") from error


@contextmanager
def owned(storage: str, name: str, fresh: bool) -> Iterator[SweepFolder]:
    """Owns the sweep's folder below `storage`, after moving an old one aside if `fresh`.

    Raises ConfigError if it is in use, cannot be written, or holds something else.
    """
    if is_url(storage):
        with _owned_objects(run_url(storage, name), fresh) as folder:
            yield folder
        return
    path = (Path(storage) / name).absolute()
    aside = folders.move_aside(path) if fresh else None
    folder = SweepFolder(path, warnings=[f"the old sweep lies in {aside} now"] if aside else [])
    if path.is_dir() and not (path / RESULTS).is_file():
        others = [one.name for one in path.iterdir() if one.name != folders.LOCK and not one.name.startswith("trial-")]
        if others:
            raise ConfigError(
                f"{path} is not the folder of a sweep (it holds {others[0]} and no {RESULTS}); give another --name"
            )
    with folders.owned(path):
        yield folder


@contextmanager
def _owned_objects(url: str, fresh: bool) -> Iterator[SweepFolder]:
    place = shown(url)
    if fresh:
        raise ConfigError(f"--fresh: {place} is object storage, where nothing can be moved; give another --name")
    folder = SweepFolder(place, Objects(url))
    assert folder.objects is not None
    owner = Ownership(folder.objects, folder.warnings.append)
    try:
        owner.take()
    except OSError as error:
        raise ConfigError(f"cluster.storage: {place} cannot be read and written: {error}") from error
    try:
        yield folder
    finally:
        owner.release()
