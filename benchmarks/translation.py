"""Style transfer with a known truth: photographs to sketches, by pairs and without.

    python benchmarks/translation.py --photos PHOTOS --out runs/translation [--only cyclegan] [--seed 0] [KEY=VALUE ...]

PHOTOS is a folder of photographs, in it or below it. 100 of them are held out; of 200 the photographs are domain A, of
200 others the sketches are domain B. pix2pix gets the pairs of the first 200. Each config of configs/image-to-image is
trained as it is. The scores stand in RESULT.json, beside those of the photograph itself and of a blank sheet, and a
contact sheet of twenty held-out photographs in sheet.png: photograph, each method's sketch, the true one.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageOps

import gandist
from gandist.using.evaluate import evaluate
from gandist.using.translate import Translator

METHODS = ("pix2pix", "cyclegan", "cut")
CONFIGS = Path(__file__).parents[1] / "configs" / "image-to-image"
SIDE, TRAINED = 64, 72
"""Shorter side of held-out images and of training images, out of which squares of 64 pixels are cut."""
SHOWN = 20


def sketch(photo: Image.Image) -> Image.Image:
    """The fixed filter: the brightness over its surroundings', which leaves dark lines on a white sheet."""
    grey = photo.convert("L")
    around = np.asarray(grey.filter(ImageFilter.GaussianBlur(2.0)), np.float32)
    ratio = (np.asarray(grey, np.float32) + 8) / (around + 8)
    return Image.fromarray((ratio.clip(0, 1) ** 4 * 255).round().astype(np.uint8)).convert("RGB")


def shrunk(path: Path, side: int) -> Image.Image:
    """The photograph with a shorter side of `side` pixels."""
    photo = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    factor = side / min(photo.size)
    width, height = (round(length * factor) for length in photo.size)
    return photo.resize((width, height), Image.Resampling.BICUBIC)


def prepare(photos: Path, root: Path) -> None:
    """The folders of both kinds: root/unpaired and root/paired."""
    files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    random.Random(0).shuffle(files)
    held, first, second = files[:100], files[100:300], files[300:500]

    def write(kind: str, folder: str, paths: list[Path], side: int, drawn: bool) -> None:
        place = root / kind / folder
        place.mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(paths):
            photo = shrunk(path, side)
            (sketch(photo) if drawn else photo).save(place / f"{number:03d}.png")

    for kind, drawn_from in (("unpaired", second), ("paired", first)):
        write(kind, "trainA", first, TRAINED, False)
        write(kind, "trainB", drawn_from, TRAINED, True)
        write(kind, "testA", held, SIDE, False)
        write(kind, "testB", held, SIDE, True)


def blank(root: Path) -> float:
    """The L1 of a white sheet."""
    held = [np.asarray(Image.open(path), np.float64) for path in sorted((root / "paired" / "testB").glob("*.png"))]
    middles = [_middle(one) for one in held]
    return float(np.mean([np.abs(255 - one).mean() / 255 for one in middles]))


def _middle(pixels: np.ndarray) -> np.ndarray:
    top, left = ((length - SIDE) // 2 for length in pixels.shape[:2])
    return pixels[top : top + SIDE, left : left + SIDE]


def train(method: str, root: Path, seed: int, overrides: list[str]) -> dict[str, Any]:
    """Trains one config; its scores on the held-out pairs, and the CPU-minutes that it took."""
    before = _cpu()
    kind = "paired" if method == "pix2pix" else "unpaired"
    given = [
        f"dataset.root={root / kind}",
        f"run.seed={seed}",
        f"run.name={method}-{seed}",
        f"cluster.storage={root}",
        "dataset.loaders=0",
    ]
    gandist.train(CONFIGS / f"{method}.yaml", [*given, *overrides])
    minutes = (_cpu() - before) / 60
    scores = evaluate(root / f"{method}-{seed}")
    return {name: scores[name] for name in ("l1", "l1_identity", "ssim", "ssim_identity")} | {"cpu_minutes": minutes}


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def sheet(root: Path, runs: dict[str, Path]) -> Image.Image:
    """Twenty held-out photographs in rows: the photograph, the sketch of each run, the true sketch."""
    scale, gap, head = 1, 2, 14
    titles = ["photograph", *runs, "truth"]
    cell = SIDE * scale + gap
    columns = 2
    block = cell * len(titles) + 10
    image = Image.new("RGB", (columns * block, head + cell * (SHOWN // columns)), "white")
    draw = ImageDraw.Draw(image)
    for column in range(columns):
        for place, title in enumerate(titles):
            draw.text((column * block + place * cell, 0), title, fill="black")
    translators = {name: Translator.of(gandist.load(run), "b") for name, run in runs.items()}
    for number in range(SHOWN):
        paths = [root / "paired" / folder / f"{number:03d}.png" for folder in ("testA", "testB")]
        photo, truth = (Image.fromarray(_middle(np.asarray(Image.open(path)))) for path in paths)
        row = [photo, *(one.picture(photo) for one in translators.values()), truth]
        row_number, column = divmod(number, columns)
        for place, one in enumerate(row):
            image.paste(one, (column * block + place * cell, head + row_number * cell))
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=METHODS, action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE for every run")
    given = parser.parse_args()
    root = given.out.resolve()
    torch.set_num_threads(1)
    if not (root / "paired" / "testB").is_dir():
        prepare(given.photos, root)
    file = root / "RESULT.json"
    results = json.loads(file.read_text()) if file.is_file() else {"blank": {"l1": blank(root)}}
    for method in given.only or METHODS:
        results[f"{method}-{given.seed}"] = train(method, root, given.seed, given.overrides)
        file.write_text(json.dumps(results, indent=2))
    print(json.dumps(results, indent=2))
    runs = {method: root / f"{method}-{given.seed}" for method in METHODS if (root / f"{method}-{given.seed}").is_dir()}
    sheet(root, runs).save(root / "sheet.png")


if __name__ == "__main__":
    main()
