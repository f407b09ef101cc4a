"""Two contestants that start in phases: interleaved rounds, a table, and whether the target is reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence


def told(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def compared(
    titles: tuple[str, str], phases: Sequence[str], rounds: int, target: float, measure: Callable[[int], list[float]]
) -> int:
    """Measures in interleaved rounds and prints. Returns 0 if the median ratio keeps within the target, else 1.

    titles: of the first contestant and of the one it is compared with. measure: seconds of each phase of contestant 0
    or 1; a first round of each, which fills caches, is left out.
    """
    found: tuple[list[list[float]], list[list[float]]] = ([], [])
    for number in range(rounds + 1):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            seconds = measure(which)
            if number:
                found[which].append(seconds)
                split = " + ".join(f"{phase:.2f}" for phase in seconds)
                print(f"round {number}: {titles[which]} {sum(seconds):.2f} s = {split}", flush=True)
    print(f"{'seconds':<20}{titles[0]:<26}{titles[1]}")
    for row, phase in enumerate(phases):
        ours, theirs = (told([seconds[row] for seconds in one]) for one in found)
        print(f"{phase:<20}{ours:<26}{theirs}")
    whole = [[sum(seconds) for seconds in one] for one in found]
    print(f"{'whole':<20}{told(whole[0]):<26}{told(whole[1])}")
    ratios = [ours / theirs for ours, theirs in zip(*whole, strict=True)]
    reached = statistics.median(ratios) <= target
    print(f"ratio {told(ratios)}; target: at most {target:.2f}; {'reached' if reached else 'missed'}")
    return 0 if reached else 1
