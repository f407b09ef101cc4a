"""Metrics as the few lines that a person reads at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping


def lines(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """(what, figure) for each group of metrics, the figure of real data beside it where there is one."""
    left, found = dict(metrics), []
    if "frechet" in left:
        real = left.pop("frechet_real", None)
        beside = f" (real against real {real:.3f})" if real is not None else ""
        found.append(("Fréchet distance", f"{left.pop('frechet'):.3f}{beside}"))
    if "smallest_class" in left:
        small, large = left.pop("smallest_class"), left.pop("largest_class")
        found.append(("class shares", f"smallest {small:.1%}, largest {large:.1%}"))
        left = {name: value for name, value in left.items() if not name.startswith("class_share/")}
    if "confident" in left:
        real = left.pop("confident_real", None)
        beside = f" (real {real:.1%})" if real is not None else ""
        found.append(("confident samples", f"{left.pop('confident'):.1%}{beside}"))
    if "modes_hit" in left:
        found.append(("modes hit", f"{left.pop('modes_hit'):.0f} of {left.pop('modes'):.0f}"))
        found.append(("good points", f"{left.pop('good'):.1%}"))
    return found + [(name, f"{value:.4g}") for name, value in left.items()]
