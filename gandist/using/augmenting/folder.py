"""A labelled data set as a folder: one folder a class, and labels.csv."""

from __future__ import annotations

import csv
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gandist.contract.facts import Facts
from gandist.errors import ConfigError
from gandist.tracking.provenance import metadata
from gandist.using.augmenting.asked import names
from gandist.using.augmenting.made import Maker
from gandist.using.pictures import as_image

LABELS = "labels.csv"
_FORBIDDEN = re.compile(r"[/\\:*?\"<>|\x00-\x1f\x7f]")
"""Characters that some file system does not have in names."""


def require_empty(out: Path) -> None:
    """Raises ConfigError if something lies where the data set is to be written."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: is a file; give the name of a new folder")
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError(
            f"--out {out}: is not empty; give a new folder, so that no real image is taken for a made one"
        )


def folder_names(facts: Facts) -> tuple[str, ...]:
    """One name a class that every file system takes, all different."""
    taken: set[str] = set()
    found = []
    for label, name in enumerate(names(facts)):
        plain = _FORBIDDEN.sub("-", name).strip(" .")
        # Some file systems take capitals for small letters.
        if not plain or plain.lower() in taken:
            plain = f"{plain or 'class'}-{label}"
        taken.add(plain.lower())
        found.append(plain)
    return tuple(found)


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` only if all went well."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(4)}.partial")
    try:
        temporary.mkdir()
        yield temporary
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_data_set(
    maker: Maker, counts: Mapping[int, int], out: Path, seed: int = 0, provenance: bool = True
) -> dict[str, Any]:
    """Writes `counts` images of each label into `out`, whole or not at all, and returns how many were tried and kept.

    OUT/CLASS/000000.png, and labels.csv: `file`, `label` (the run's number of the class), `class`, `seed`, `sample`
    (of the seed, as `gandist.load(run).sample(1, seed, label, sample)` makes it), and what the filters said. A class of
    which no image is wanted gets no folder. provenance: whether the files say in their metadata that they are
    synthetic. Raises ConfigError if `out` is not empty, cannot be written, or too few images pass the filters.
    """
    out, trained = Path(out), maker.trained
    require_empty(out)
    if trained.facts.shape[0] not in (1, 3):
        raise ConfigError(f"{trained.path}: PNGs have 1 or 3 channels, these images {trained.facts.shape[0]}")
    told: dict[str, dict[str, int]] = {}
    try:
        with _whole(out) as folder, (folder / LABELS).open("w", encoding="utf-8", newline="") as file:
            filters = [
                *(["realness"] if maker.keep is not None else []),
                *(["agreement"] if maker.agree is not None else []),
            ]
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["file", "label", "class", "seed", "sample", *filters])
            for label, wanted in counts.items():
                if wanted:
                    told[names(trained.facts)[label]] = _write_class(
                        maker, folder, rows, label, wanted, seed, provenance
                    )
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror or error}); give another folder") from error
    kept, tried = (sum(one[name] for one in told.values()) for name in ("kept", "tried"))
    return {
        "path": str(out),
        "images": kept,
        "tried": tried,
        "share_kept": kept / tried,
        "seed": seed,
        "step": trained.step,
        "by_class": told,
    }


def _write_class(
    maker: Maker, folder: Path, rows: Any, label: int, wanted: int, seed: int, provenance: bool
) -> dict[str, int]:
    trained = maker.trained
    name, below = names(trained.facts)[label], folder_names(trained.facts)[label]
    (folder / below).mkdir()
    kept = tried = 0
    for batch in maker.batches(label, wanted, seed):
        for row, (image, number) in enumerate(zip(batch.images, batch.numbers, strict=True)):
            more = {"label": label, "class": name, "sample": number}
            about = trained.provenance(seed, more=more) if provenance else None
            path = f"{below}/{kept:06d}.png"
            as_image(image).save(folder / path, **metadata(about, "PNG"))
            said = [f"{float(values[row]):.6g}" for values in batch.told.values()]
            rows.writerow([path, label, name, seed, number, *said])
            kept += 1
        tried += batch.tried
    return {"kept": kept, "tried": tried}
