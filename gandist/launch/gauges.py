"""The logged values as gauges on Ray's Prometheus page."""

from __future__ import annotations

import re
from typing import Any


class Gauges:
    """Sets a gauge for each value that a run logs: `seconds/data` is gandist_seconds{run="…", key="data"}.

    Ray's agent on rank 0's node serves them; where it has none, nothing comes of it.
    """

    def __init__(self, run: str):
        self._run = run
        self._gauges: dict[str, Any] = {}

    def set(self, scalars: dict[str, float]) -> None:
        """The values of a logging step."""
        for name, value in scalars.items():
            first, _, rest = name.partition("/")
            self._gauge(first).set(value, {"run": self._run, "key": rest})

    def _gauge(self, name: str) -> Any:
        if name not in self._gauges:
            from ray.util.metrics import Gauge

            clean = re.sub(r"\W", "_", f"gandist_{name}")
            about = "A value that gandist logs; docs/metrics.md has its unit and meaning."
            self._gauges[name] = Gauge(clean, about, tag_keys=("run", "key"))
        return self._gauges[name]
