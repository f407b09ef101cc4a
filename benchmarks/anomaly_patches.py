"""Where in an image the anomaly is: foreign squares in test images of Fashion-MNIST, and the heatmaps of f-anogan.

`python benchmarks/anomaly_patches.py --data FOLDER --runs FOLDER` takes the runs that `anomaly.py images --runs FOLDER`
has kept. Into each test image of a run's normal class a square of 8×8 of its 32×32 pixels is pasted at a random place,
either a piece of an image of another class or uniform noise. Beside the heatmaps stands the difference from the nearest
training image, blurred alike. `--picture FILE` draws ten images with a piece in them, the first of each class.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from anomaly import one_class, read
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

import gandist
from gandist import ShowsAnomalies, as_played
from gandist.using.trained import Trained

PATCH = 8
"""Pixels of a side of the pasted squares."""
VISIBLE = 64.0
"""Least mean difference of a square from what it covers, in grey levels of 256."""
SHOWN = 10
"""Images in the picture."""


def patches(data: Path, seed: int, classes: list[int], runs: Path, picture: Path | None) -> None:
    shown = []
    for normal in classes:
        trained = gandist.load(runs / f"encoder-{normal}-{seed}")
        train, test = read(one_class(data, normal))
        images, others = (test["real"][truth] for truth in (~test["anomalous"], test["anomalous"]))
        for kind, foreign in (("piece", others), ("noise", None)):
            changed, masks = patched(images, foreign, seed)
            heat = heat_of(trained, changed)
            each = SHOWN // len(classes) if foreign is not None else 0
            shown += list(zip(changed[:each], heat[:each], masks[:each], strict=True))
            for method, maps in (("gandist", heat), ("nearest image", from_nearest(train["real"], changed))):
                line = {"data": str(normal), "seed": seed, "patch": kind, "method": method, **located(maps, masks)}
                print(json.dumps(line), flush=True)
    if picture is not None:
        sheet(shown).save(picture)


def patched(images: Tensor, foreign: Tensor | None, seed: int) -> tuple[Tensor, Tensor]:
    """The images, each with a square of 8×8 pixels at a random place, and masks of the squares, bool (N, H, W).

    images: uint8 (N, 1, H, W). foreign: images that the squares are pieces of; None for uniform noise. Squares that
    hardly differ from what they cover are drawn again, since a black one on black is none.
    """
    draws, size = np.random.RandomState(seed), images.shape[-1]
    changed, masks = images.clone(), torch.zeros(len(images), size, size, dtype=torch.bool)
    for image, mask in zip(changed, masks, strict=True):
        while True:
            row, column, top, left = draws.randint(0, size - PATCH + 1, 4).tolist()
            piece = torch.from_numpy(draws.randint(0, 256, (1, PATCH, PATCH)).astype(np.uint8))
            if foreign is not None:
                piece = foreign[draws.randint(len(foreign)), :, top : top + PATCH, left : left + PATCH]
            covered = image[:, row : row + PATCH, column : column + PATCH]
            if (piece.float() - covered.float()).abs().mean() >= VISIBLE:
                break
        covered.copy_(piece)
        mask[row : row + PATCH, column : column + PATCH] = True
    return changed, masks


@torch.no_grad()
def heat_of(trained: Trained, images: Tensor) -> Tensor:
    """The run's heatmaps, (N, H, W)."""
    loss = trained.config.loss
    assert isinstance(loss, ShowsAnomalies)
    return torch.cat([loss.heatmap(trained.players, as_played(batch)) for batch in images.split(250)])


def from_nearest(train: Tensor, images: Tensor) -> Tensor:
    """Absolute differences from the nearest training image, mean over 5×5 pixels as f-anogan's, (N, H, W)."""
    train, images = as_played(train), as_played(images)
    nearest = train[torch.cdist(images.flatten(1), train.flatten(1)).argmin(1)]
    return avg_pool2d(pad((images - nearest).abs(), (2,) * 4, mode="replicate"), 5, stride=1).squeeze(1)


def located(heat: Tensor, masks: Tensor) -> dict[str, float]:
    """Area under the ROC curve over all pixels, and in what share of images the hottest pixel lies in the square."""
    hottest = masks.flatten(1).gather(1, heat.flatten(1).argmax(1, keepdim=True))
    area = gandist.auroc(heat.flatten(), masks.flatten())
    return {"pixel_auroc": round(area, 4), "hottest_inside": round(float(hottest.float().mean()), 4)}


def sheet(shown: list[tuple[Tensor, Tensor, Tensor]]) -> Image.Image:
    """A column each: the image, its heat in red upon it, white at the mask."""
    columns = []
    for image, heat, mask in shown:
        grey = image[0].float()
        hot = heat / heat.max()
        over = torch.stack([grey + (255 - grey) * hot, grey * (1 - hot), grey * (1 - hot)])
        columns.append(torch.cat([grey.expand(3, -1, -1), over, mask.float().expand(3, -1, -1) * 255], dim=1))
    pixels = torch.cat(columns, dim=2).clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels).resize((2 * pixels.shape[1], 2 * pixels.shape[0]), Image.Resampling.NEAREST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--classes", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    patches(args.data, args.seed, args.classes, args.runs, args.picture)


if __name__ == "__main__":
    main()
