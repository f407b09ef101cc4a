"""The command line: verbs that parse, call and print."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 done, 1 the run failed, 2 the user's mistake, 3 stopped early.

    arguments: without the program's name; those of the process if None.
    """
    from gandist.cli.verbs import app

    try:
        app(list(sys.argv[1:] if arguments is None else arguments), prog_name="gandist")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0
