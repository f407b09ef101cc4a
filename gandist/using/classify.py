"""Gives images their classes, by the classifier that a run has trained."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from gandist.contract.classifying import class_logits, classifier_of, classifying
from gandist.errors import ConfigError
from gandist.using.folders import Pictures
from gandist.using.load import load

ENDING = ".csv"
_STEP = 10_000
"""Images between two words on how far it is."""


@torch.no_grad()
def classify(run: Path, images: Path, out: Path) -> dict[str, Any]:
    """Writes a line an image to `out`: file, class, its probability, and the probability of each class.

    images: a folder, a file, or an .npz; those of another size than the run's are cropped and scaled to it. Returns
    what was written. Raises ConfigError if the run has no classifier, or the images cannot be read; `out` is whole or
    not there.
    """
    if out.suffix.lower() != ENDING:
        raise ConfigError(f"--out {out}: should end in {ENDING}")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}; make it first")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trained = load(run, device)
    loss, facts = trained.config.loss, trained.facts
    if classifier_of(loss) is None:
        raise ConfigError(
            f"{run}: was trained with {loss.name}, which trains no classifier; {', '.join(classifying())} do"
        )
    if not facts.images:
        raise ConfigError(f"{run}: was trained on points; only images can be read from files")
    pictures = Pictures(images, facts, fewest=1, fit=True)
    classes = facts.class_names or tuple(map(str, range(facts.classes)))
    counts: Counter[str] = Counter()
    names = iter(pictures.names)
    # Beside its place, so that the rename is one.
    partial = out.with_name(f".{out.name}.partial")
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["file", "class", "probability", *classes])
            for batch in pictures:
                shares = class_logits(loss, trained.players, batch.to(device)).double().softmax(1).cpu()
                for share in shares:
                    best = int(share.argmax())
                    counts[classes[best]] += 1
                    table.writerow([next(names), classes[best], *(f"{p:.6f}" for p in (share[best], *share))])
                if (done := counts.total()) % _STEP < len(batch) and done >= _STEP:
                    print(f"{done:,} of {len(pictures):,} images", file=sys.stderr)
        partial.replace(out)
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
    found = {name: counts[name] for name in classes if counts[name]}
    return {
        "out": str(out),
        "images": len(pictures),
        "resized": pictures.fitted,
        "step": trained.step,
        "counts": found,
    }
