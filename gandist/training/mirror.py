"""A run folder on object storage: local files go there so that at any moment the newest manifest stands for a whole
checkpoint, and come back from there when the run goes on."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from gandist.training.checkpoint import CONFIG, MANIFEST, NETWORKS, STATE, Kept, damage, step_of
from gandist.training.objects import Objects

CHECKPOINTS = "checkpoints"
_CONTINUED = (".json", ".jsonl")
"""Endings of what watchers read again when a run goes on."""
_DEPTH = 2
"""Path parts of the files that go with every checkpoint (metrics.jsonl, samples/x.png); deeper ones go at the end."""
_PASSING = (".tmp", ".partial")


class Mirror:
    """The run folder at a URL, and what of a local folder it has already.

    All methods raise OSError when the storage has failed several times in a row.
    """

    def __init__(self, url: str):
        self.objects = Objects(url)
        self._sent: dict[str, tuple[int, int]] = {}

    def put(self, path: Path, name: str | None = None) -> None:
        """Sends one file, under its own name if no other is given."""
        name = name or path.name
        # Taken before: what is added while the file is on its way makes it a changed one.
        stamp = _stamp(path)
        self.objects.upload(path, name)
        self._sent[name] = stamp

    def get(self, name: str, folder: Path) -> bool:
        """Brings one file into a folder; False if there is none."""
        found = self.objects.download(name, folder / name)
        if found:
            self._sent[name] = _stamp(folder / name)
        return found

    def put_changed(self, run: Path, everything: bool = False) -> None:
        """Sends what has changed in the run folder since it was sent last, but no checkpoints.

        everything: files deep in folders too, as Weights & Biases has them.
        """
        for path in sorted(run.rglob("*")):
            parts = path.relative_to(run).parts
            if parts[0] == CHECKPOINTS or path.name.startswith(".") or path.suffix in _PASSING:
                continue
            if path.is_symlink() or not path.is_file() or (len(parts) > _DEPTH and not everything):
                continue
            name = "/".join(parts)
            # A watcher may delete or rename what it has just shown.
            with suppress(FileNotFoundError):
                if self._sent.get(name) != _stamp(path):
                    self.put(path, name)

    def publish(self, checkpoint: Path, kept: Kept) -> None:
        """Sends a whole checkpoint of a local run folder: what else has changed there, its files, its manifest.

        Then deletes those that are not kept, and the unfinished uploads that are older.
        """
        self.put_changed(checkpoint.parents[1])
        there, name = self._checkpoints(), checkpoint.name
        if MANIFEST in there.get(name, ()):
            # A damaged one, or the same step once more after going back to an earlier checkpoint.
            self.objects.delete(f"{CHECKPOINTS}/{name}/{MANIFEST}")
        for file in (NETWORKS, STATE, CONFIG, MANIFEST):
            self.objects.upload(checkpoint / file, f"{CHECKPOINTS}/{name}/{file}")
        whole = {one for one, files in there.items() if MANIFEST in files} | {name}
        gone = {path.name for path in kept.others([Path(one) for one in _newest_first(whole)])}
        for old in there.keys() - (whole - gone):
            if old in whole or _step(old) < _step(name):
                self.objects.delete(f"{CHECKPOINTS}/{old}/{MANIFEST}")
                self.objects.delete_folder(f"{CHECKPOINTS}/{old}")

    def fetch(self, name: str, run: Path) -> Path:
        """Brings a checkpoint into a local run folder, as it is there, whole or not."""
        path = run / CHECKPOINTS / name
        for file in (NETWORKS, STATE, CONFIG, MANIFEST):
            self.objects.download(f"{CHECKPOINTS}/{name}/{file}", path / file)
        return path

    def restore(self, run: Path) -> tuple[Path | None, dict[Path, str]]:
        """Brings into a local run folder what the run goes on with: the newest whole checkpoint, the watchers' files.

        Returns the checkpoint, and the damaged and unfinished ones that are newer, with what is wrong with each.
        """
        there, wrong = self._checkpoints(), {}
        for name in self.objects.list():
            if name.count("/") < _DEPTH and name.endswith(_CONTINUED):
                self.get(name, run)
        for name in _newest_first(there):
            path = run / CHECKPOINTS / name
            if MANIFEST not in there[name]:
                wrong[path] = f"{MANIFEST} is missing: its upload was not finished"
                continue
            problem = damage(self.fetch(name, run))
            if problem is None:
                return path, wrong
            wrong[path] = problem
            shutil.rmtree(path)
        return None, wrong

    def _checkpoints(self) -> dict[str, set[str]]:
        """The checkpoints there, each with the names of its files."""
        found: dict[str, set[str]] = {}
        for path in map(Path, self.objects.list(CHECKPOINTS)):
            if step_of(path.parent) is not None:
                found.setdefault(path.parent.name, set()).add(path.name)
        return found


def _step(name: str) -> int:
    return step_of(Path(name)) or 0


def _newest_first(names: set[str] | dict[str, set[str]]) -> list[str]:
    return sorted(names, key=_step, reverse=True)


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size
