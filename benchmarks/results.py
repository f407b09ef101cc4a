"""Makes docs/results.md: trains what its tables lack, keeps each figure as JSON, and writes the tables.

    python benchmarks/results.py --only ring8 --losses r3gan hinge --seeds 0      # a piece of one table
    python benchmarks/results.py --only ring8 --minutes 4                         # as much as 4 minutes allow
    python benchmarks/results.py --write                                          # only write the page from the figures

What is trained stands in benchmarks/results.yaml. A figure that is there, made with the same settings, is not made
again; a run that was stopped goes on. CPU time is that of the whole command, start and scores included.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from figures import HERE, Figures, Job, jobs, make
from result_tables import write_page


def wanted(arguments: argparse.Namespace) -> list[Job]:
    """The jobs that the command line asks for, one seed of all entries before the next seed."""
    every = jobs(arguments.settings)
    tables, entries = {job.table for job in every}, {job.entry for job in every}
    for name, known, given in (("--only", tables, arguments.only), ("--losses", entries, arguments.losses)):
        for one in given or []:
            if one not in known:
                raise SystemExit(f"{name} {one}: not in {arguments.settings}; there are {', '.join(sorted(known))}")
    chosen = [
        job
        for job in every
        if (not arguments.only or job.table in arguments.only)
        and (not arguments.losses or job.entry in arguments.losses)
        and (arguments.seeds is None or job.seed in arguments.seeds)
    ]
    return sorted(chosen, key=lambda job: (list(dict.fromkeys(j.table for j in every)).index(job.table), job.seed))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="TABLE", help="only these tables")
    parser.add_argument("--losses", nargs="+", metavar="NAME", help="only these losses, or entries of a table")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="only these seeds")
    parser.add_argument("--minutes", type=float, help="leave after so many minutes, with a checkpoint to go on from")
    parser.add_argument("--write", action="store_true", help="train nothing, only write the page")
    parser.add_argument("--data", type=Path, help="folder with fashion-mnist/ and the like; downloaded if not given")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run folders go")
    parser.add_argument("--figures", type=Path, default=HERE / "figures", help="where the figures are kept")
    parser.add_argument("--settings", type=Path, default=HERE / "results.yaml", help="what is trained")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "results.md", help="the page to write")
    arguments = parser.parse_args()
    figures = Figures(arguments.figures)
    deadline = time.monotonic() + 60 * arguments.minutes if arguments.minutes else None
    for job in [] if arguments.write else wanted(arguments):
        if figures.get(job) is not None:
            continue
        if deadline is not None and time.monotonic() > deadline:
            break
        print(f"{job.name}: {' '.join(job.overrides) or job.config}", file=sys.stderr)
        figure = make(job, figures, arguments.runs, arguments.data, deadline)
        if figure is None:
            print(f"{job.name}: stopped; the same command goes on", file=sys.stderr)
            break
        print(f"{job.name}: {figure['scores']} in {figure['cpu_seconds']:.0f} CPU-seconds")
    write_page(arguments.page, jobs(arguments.settings), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
