"""The typer application, and what all verbs have in common."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Annotated, ParamSpec

import typer

from gandist.errors import GandistError, RunError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
P = ParamSpec("P")

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130

ConfigArgument = Annotated[str, typer.Argument(metavar="CONFIG", help="YAML file.")]
OverridesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Overrides; VALUE is YAML, null gives the default.")
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Run folder, or a checkpoint inside it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]

MetadataOption = Annotated[
    bool, typer.Option("--metadata/--no-metadata", help="Say in the files that they are synthetic, of which run.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        import gandist

        print(gandist.__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Distributed training of generative adversarial networks."""


def verb(function: Callable[P, int | None]) -> Callable[P, None]:
    """Registers a verb. It returns the exit code, None for 0; a GandistError is a message without a traceback."""
    return app.command()(guarded(function))


def guarded(function: Callable[P, int | None]) -> Callable[P, None]:
    """A verb, or a verb of a group, that warns of broken plugins first, and ends as `ending` says."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> int | None:
        warn_of_broken_plugins()
        return function(*args, **kwargs)

    return ending(run)


def ending(function: Callable[P, int | None]) -> Callable[P, None]:
    """A verb that ends with its exit code, and never with a traceback of a user's mistake. It loads no plugin."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = function(*args, **kwargs) or 0
        except GandistError as error:
            print(error, file=sys.stderr)
            code = FAILED if isinstance(error, RunError) else MISTAKE
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            code = INTERRUPTED
        raise typer.Exit(code)

    return run


def warn_of_broken_plugins() -> None:
    """One line on stderr if a plugin could not be loaded."""
    from gandist.contract.discovery import installed

    broken = [f"{plugin.name} of {plugin.distribution} ({plugin.error})" for plugin in installed().broken]
    if broken:
        print(f"warning: plugins that could not be loaded: {'; '.join(broken)}", file=sys.stderr)
