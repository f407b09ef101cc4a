"""One figure of docs/results.md: the run that gives it, and the JSON file that keeps it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import scores
import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent
STOPPED = 3
"""Exit code of a run that was stopped and can go on."""
CALIBRATION = (20, 80)
"""Steps of the two short runs whose difference says how many images a CPU-second takes."""


@dataclass(frozen=True)
class Job:
    """A run and how it is scored. config: relative to the project. overrides: as the command line takes them.

    minutes: CPU-minutes of training that the number of images is chosen for; None keeps the config's.
    """

    table: str
    entry: str
    seed: int
    config: str
    overrides: tuple[str, ...]
    score: str
    minutes: float | None

    @property
    def name(self) -> str:
        """Name of the run."""
        return f"{self.table}-{self.entry}-{self.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """What makes a figure another one when it changes."""
        text = resolved(self.config, self.overrides)
        return {"config": self.config, "overrides": list(self.overrides), "minutes": self.minutes, "resolved": text}


def resolved(config: str, overrides: Sequence[str]) -> str:
    """A digest of the composed config without what only says where and how often: another one is another figure."""
    from gandist.config.compose import compose

    mapping = {key: value for key, value in compose(ROOT / config, overrides).mapping.items() if key != "run"}
    mapping = {key: value for key, value in mapping.items() if key not in ("cluster", "tracking")}
    return hashlib.sha256(json.dumps(mapping, sort_keys=True).encode()).hexdigest()[:16]


def jobs(settings: Path) -> list[Job]:
    """All runs that the settings name, table by table."""
    found = []
    for table, about in yaml.safe_load(settings.read_text(encoding="utf-8")).items():
        for entry, own in about["entries"].items():
            fields: dict[str, Any] = {"overrides": own} if isinstance(own, list) else own
            config: str = fields.get("config") or about["config"]
            overrides = (*about.get("overrides", ()), *fields.get("overrides", ()))
            found += [
                Job(table, entry, seed, config, overrides, about["score"], about.get("minutes"))
                for seed in about["seeds"]
            ]
    return found


class Figures:
    """The folder of figures: TABLE/ENTRY-SEED.json, and beside it what an unfinished one has cost so far."""

    def __init__(self, folder: Path):
        self.folder = folder

    def _path(self, job: Job) -> Path:
        return self.folder / job.table / f"{job.entry}-{job.seed}.json"

    def get(self, job: Job) -> dict[str, Any] | None:
        """The figure, if there is one of these settings."""
        path = self._path(job)
        figure = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        return figure if figure is not None and figure["settings"] == job.settings else None

    def begun(self, job: Job) -> dict[str, Any]:
        """Of an unfinished run with these settings: CPU-seconds and images."""
        path = self._path(job).with_suffix(".json.tmp")
        state = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return state if state.get("settings") == job.settings else {}

    def put(self, job: Job, figure: Mapping[str, Any], finished: bool) -> None:
        """Keeps a figure, or the state of an unfinished one."""
        path = self._path(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".json.tmp")
        partial.write_text(json.dumps(figure, indent=1) + "\n", encoding="utf-8")
        if finished:
            partial.replace(path)


def make(job: Job, figures: Figures, runs: Path, data: Path | None, deadline: float | None) -> dict[str, Any] | None:
    """Trains and scores; None if the deadline came before the end. Raises SystemExit if the run fails."""
    state = figures.begun(job)
    given = [*job.overrides, *_where(job, data), f"run.name={job.name}", f"run.seed={job.seed}", "cluster.workers=0"]
    if job.minutes is not None and "images" not in state:
        state = {"images": _images(job, given, job.minutes * 60)}
    if "images" in state:
        given.append(f"train.images={state['images']}")
    fresh = [] if "cpu_seconds" in state else ["--fresh"]
    code, spent = _train([job.config, *given, f"cluster.storage={runs.resolve()}", *fresh], deadline)
    state = {**state, "settings": job.settings, "cpu_seconds": state.get("cpu_seconds", 0.0) + spent}
    if code == STOPPED:
        figures.put(job, state, finished=False)
        return None
    if code:
        raise SystemExit(f"{job.name}: the run failed with exit code {code}")
    folder = runs / job.name
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    figure = {
        **state,
        "images": result["images"],
        "steps": result["steps"],
        "seed": job.seed,
        "scores": {**result["metrics"], **scores.SCORES[job.score](folder)},
        "versions": {name: version(name) for name in ("gandist", "torch")} | {"python": platform.python_version()},
        "machine": _machine(),
        "date": date.today().isoformat(),
    }
    figures.put(job, figure, finished=True)
    return figure


def _where(job: Job, data: Path | None) -> Iterator[str]:
    for name in ("fashion-mnist", "mnist", "kmnist", "cifar10"):
        if data is not None and name in Path(job.config).stem and (data / name).is_dir():
            yield f"dataset.root={data.resolve() / name}"


def _images(job: Job, given: Sequence[str], seconds: float) -> int:
    """How many images a training of so many CPU-seconds takes: what two short runs differ by is neither start nor
    end."""
    from gandist.config.compose import compose
    from gandist.config.resolve import resolve

    step = resolve(compose(ROOT / job.config, list(given))).images_per_step
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        for steps in CALIBRATION:
            short = [f"train.images={steps * step}", "evaluate.every=0", f"cluster.storage={folder}", "--fresh"]
            code, cost = _train([job.config, *given, *short], None)
            if code:
                raise SystemExit(f"{job.name}: the run failed with exit code {code}")
            spent.append(cost)
    rate = (CALIBRATION[1] - CALIBRATION[0]) * step / (spent[1] - spent[0])
    return max(step, round(rate * seconds / 1000) * 1000)


def _train(arguments: Sequence[str], deadline: float | None) -> tuple[int, float]:
    """Exit code and CPU-seconds of `gandist train`, which is asked to stop at the deadline."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gandist", "train", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, text=True
    )
    asked = False
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = code = os.waitstatus_to_exitcode(status)
            # Asked before it could hear, it simply ends.
            code = STOPPED if asked and code == -signal.SIGTERM else code
            return code, usage.ru_utime + usage.ru_stime
        if deadline is not None and not asked and time.monotonic() > deadline:
            process.send_signal(signal.SIGTERM)
            asked = True
        time.sleep(0.2)


def _machine() -> str:
    names = [
        line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, one thread"
