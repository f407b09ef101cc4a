"""Where a run lives: in a folder, or on object storage with a local folder to work in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from gandist.config.schema import Config
from gandist.config.storage import is_url, run_url
from gandist.errors import ConfigError, RunError
from gandist.launch import folder as folders
from gandist.launch.ownership import Ownership
from gandist.training.mirror import Mirror
from gandist.training.objects import Objects
from gandist.training.staging import staging


@dataclass
class Home:
    """The run folder of the driver, which owns it.

    folder: local, and a staging folder if there is a mirror. shown: what the user calls the run folder. url: of the
    run on object storage. require: raises RunError if the run was taken over by another process.
    """

    folder: Path
    shown: str
    url: str | None = None
    mirror: Mirror | None = None
    require: Callable[[], None] = lambda: None
    warnings: list[str] = field(default_factory=list)

    @property
    def place(self) -> Path | str:
        """The run folder itself, as a text if it is a URL."""
        return self.folder if self.url is None else self.shown

    def keep(self, name: str) -> None:
        """Sends one of the driver's files to the object storage, if the run lies there. Raises RunError."""
        if self.mirror is not None:
            try:
                self.mirror.put(self.folder / name)
            except OSError as error:
                raise RunError(
                    f"cluster.storage: {name} could not be sent: {error}; the same command goes on"
                ) from error


@contextmanager
def owned(config: Config, plain: dict[str, Any], fresh: bool) -> Iterator[Home]:
    """Owns the run that the config names, after moving an old one aside if `fresh`.

    Raises ConfigError if it is another run than the config's, is in use, or cannot be written.
    """
    if is_url(config.cluster.storage):
        with _owned_on_objects(config, plain, fresh) as home:
            yield home
        return
    folder = (Path(config.cluster.storage) / config.run.name).absolute()
    home = Home(folder, str(folder))
    if fresh and (aside := folders.move_aside(folder)) is not None:
        home.warnings.append(f"the old run lies in {aside} now")
    folders.require_same_run(folder, plain)
    with folders.owned(folder):
        yield home


@contextmanager
def _owned_on_objects(config: Config, plain: dict[str, Any], fresh: bool) -> Iterator[Home]:
    with staging() as folder, ExitStack() as stack:
        try:
            home = stack.enter_context(_taken(config, folder))
            assert home.mirror is not None
            if fresh and (aside := _move_aside(home.mirror.objects, config)) is not None:
                home.warnings.append(f"the old run lies in {aside} now")
            if not home.mirror.get(folders.CONFIG, folder) and (others := _files(home.mirror.objects)):
                raise ConfigError(
                    f"{home.shown} is not the folder of a run (it holds {min(others)} and no {folders.CONFIG}); "
                    f"give another run.name"
                )
            for name in (folders.RESULT, folders.FAILURES):
                home.mirror.get(name, folder)
        except OSError as error:
            raise ConfigError(
                f"cluster.storage: cannot be read and written: {error}; are bucket, endpoint_override, region and the "
                f"credentials (environment or credential file) right?"
            ) from error
        folders.require_same_run(folder, plain, home.shown)
        yield home


@contextmanager
def _taken(config: Config, folder: Path) -> Iterator[Home]:
    url = run_url(config.cluster.storage, config.run.name)
    try:
        mirror = Mirror(url)
    except ConfigError as error:
        raise ConfigError(f"cluster.storage: {error}") from error
    home = Home(folder, mirror.objects.place, url, mirror)
    owner = Ownership(mirror.objects, home.warnings.append)
    owner.take()
    home.require = owner.require
    try:
        yield home
    finally:
        owner.release()


def _files(objects: Objects) -> dict[str, int]:
    return {name: size for name, size in objects.list().items() if name != folders.LOCK}


def _move_aside(objects: Objects, config: Config) -> str | None:
    """Copies the run to another name beside it, and deletes it here once everything is there."""
    old = _files(objects)
    if not old:
        return None
    aside = Objects(run_url(config.cluster.storage, f"{config.run.name}.{datetime.now():%Y%m%d-%H%M%S}"))
    for name in old:
        objects.copy(name, aside)
    if aside.list() != old:
        raise OSError(f"{aside.place} does not hold all of {objects.place} after copying; nothing was deleted")
    for name in dict.fromkeys(name.partition("/")[0] for name in old):
        if name in old:
            objects.delete(name)
        else:
            objects.delete_folder(name)
    return aside.place
