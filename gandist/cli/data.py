"""The verb about data: pack."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from gandist.cli.app import JsonOption, verb
from gandist.cli.output import print_json, print_rows
from gandist.errors import ConfigError

READER = "shards"
"""The data set that reads what is packed, and knows how it is written."""
SAYING = 5.0
"""Seconds between two lines of progress where there is no terminal."""


@verb
def pack(
    folder: Annotated[
        str,
        typer.Argument(metavar="FOLDER", help="Images as image-folder reads them; with --index, tars."),
    ],
    out: Annotated[str | None, typer.Argument(metavar="OUT", help="New folder, or the URL of one in a bucket.")] = None,
    shard_size: Annotated[str, typer.Option(metavar="SIZE", help="Bytes of a shard, e.g. 256M or 1GiB.")] = "256M",
    broken_limit: Annotated[
        int, typer.Option(min=0, help="Images that may be unreadable: each is named and left out; more are an error.")
    ] = 10,
    index: Annotated[
        bool, typer.Option("--index", help="Write the index of WebDataset tars that lie in FOLDER; copies nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Pack a folder of images into tar shards with an index, which the data set `shards` reads."""
    if index == (out is not None):
        wants = "--index writes into FOLDER and takes no OUT" if index else "needs OUT, a new folder for the shards"
        raise ConfigError(f"gandist pack {folder}: {wants}")
    from gandist.contract.components import Dataset
    from gandist.contract.discovery import installed
    from gandist.data.cache import parse_size

    try:
        size = parse_size(shard_size)
    except ValueError as error:
        raise ConfigError(f"--shard-size {error}") from None
    reader, _ = installed().choose(Dataset, READER)
    with _progress("indexing" if index else "packing", "tars" if index else "images") as told:
        options = {"broken_limit": broken_limit, "told": told, **({} if index else {"shard_size": size})}
        try:
            result = reader.pack(folder, out, **options)
        except OSError as error:
            raise ConfigError(f"gandist pack: {error}") from None
    if as_json:
        print_json(result)
        return
    left_out = result.pop("left_out")
    print_rows([(name, f"{value:,}" if isinstance(value, int) else value) for name, value in result.items()])
    print_rows([("left out", name) for name in left_out])


@contextmanager
def _progress(doing: str, what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how far it is on stderr: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        said = time.monotonic()

        def told(done: int, total: int) -> None:
            nonlocal said
            if time.monotonic() - said > SAYING:
                said = time.monotonic()
                print(f"{doing}: {done:,} of {total:,} {what}", file=sys.stderr, flush=True)

        yield told
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"{doing} {what}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
