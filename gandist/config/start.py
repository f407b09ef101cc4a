"""The section of a config that says which trained players a run begins with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from gandist.config.section import Section
from gandist.config.storage import is_url


def _here(place: str) -> str:
    """Made absolute where the config is read, because workers run in other directories."""
    if is_url(place):
        raise ValueError(f"{place} is a URL; copy the run, or one of its checkpoints, to a folder")
    return str(Path(place).expanduser().absolute())


class Start(Section):
    """Players of another run that this one begins with. Its checkpoints hold all, so that it goes on without them."""

    run: Annotated[str, AfterValidator(_here)] = Field(alias="from")
    """Folder of another run, of which the newest checkpoint is taken, or of a checkpoint."""
    players: tuple[str, ...] | None = None
    """Players whose weights are taken; null takes all that both runs have. A generator that no turn trains is taken as
    the smoothed one, which samples are made with."""
    freeze: tuple[str, ...] = ()
    """Parts of players that training leaves as they are: beginnings of their parameters' names (discriminator.body.0;
    Mo et al. 2020 freeze a discriminator's first layers). Running statistics of batch norm move on."""

    @property
    def place(self) -> Path:
        """The folder."""
        return Path(self.run)
