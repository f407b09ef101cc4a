"""Translates pictures with a trained run: of any size, with their transparency, as their EXIF turns them."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from gandist.contract.components import Loss
from gandist.contract.discovery import installed
from gandist.contract.translating import Translates
from gandist.errors import ConfigError
from gandist.tracking.grids import write
from gandist.tracking.provenance import Provenance
from gandist.using.tiles import tiled, whole
from gandist.using.trained import Trained

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF")
"""What such files may hold; Pillow knows more, and starts Ghostscript for one of them."""
TILE, OVERLAP = 512, 128


@dataclass(frozen=True, eq=False)
class Translator:
    """A run that translates to the domain `to`.

    divisor: what sides must divide by. smallest: the shortest side that the training has seen. tile: pixels a side that
    go through at once. channels: of what it takes and makes, 1 or 3.
    """

    loss: Translates
    players: Mapping[str, nn.Module]
    to: str
    divisor: int
    smallest: int
    channels: int
    device: torch.device
    tile: int = TILE

    @classmethod
    def of(cls, trained: Trained, to: str | None = None, tile: int = TILE) -> Translator:
        """That of a trained run. to: "a" or "b", in either case; None is the usual direction.

        Raises ConfigError for a run that translates nothing, or not to that domain.
        """
        loss = trained.config.loss
        if not isinstance(loss, Translates):
            able = [one.name for one in installed().components(Loss) if hasattr(one, "translate")]
            raise ConfigError(
                f"{trained.path}: was trained with the loss {loss.name}, which translates no images; those that do are "
                f"{', '.join(able) or 'not installed'}"
            )
        to = loss.targets[0] if to is None else to.lower()
        if to not in loss.targets:
            known = " and ".join(target.upper() for target in loss.targets)
            raise ConfigError(f"--to {to.upper()}: {trained.path} translates to {known} only")
        channels, *sides = trained.facts.shape
        divisor = int(getattr(trained.generator, "divisor_of_sides", 1))
        return cls(loss, {"generator": trained.generator}, to, divisor, min(sides), channels, trained.device, tile)

    @torch.no_grad()
    def pixels(self, image: Tensor) -> Tensor:
        """The translation of an image (C, H, W) in [-1, 1] of any size, by tiles if it is larger than one."""

        def work(images: Tensor) -> Tensor:
            return self.loss.translate(self.players, images.to(self.device), self.to).float().cpu()

        if max(image.shape[1:]) <= self.tile:
            return whole(image, work, self.divisor, self.smallest)
        return tiled(image, work, self.divisor, self.smallest, self.tile, OVERLAP)

    def picture(self, picture: Image.Image) -> Image.Image:
        """The translation of a picture of any mode and size, upright. Its transparency is kept; what lies under it is
        put on white before."""
        picture = ImageOps.exif_transpose(picture)
        alpha = picture.convert("RGBA").getchannel("A") if picture.has_transparency_data else None
        if alpha is not None:
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture.convert("RGBA"))
        elif picture.mode.startswith("I"):
            # Greys of 16 bits, which Pillow would cut off at 255.
            values = np.asarray(picture, dtype=np.float32) / 257.0
            picture = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
        given = np.array(picture.convert("L" if self.channels == 1 else "RGB"), dtype=np.float32)
        image = torch.from_numpy(given.reshape(*given.shape[:2], -1)).permute(2, 0, 1).div(127.5).sub(1).contiguous()
        made = self.pixels(image).add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        result = Image.fromarray(made.permute(1, 2, 0).squeeze(-1).contiguous().numpy())
        if alpha is not None:
            result.putalpha(alpha)
        return result


def write_translations(
    translator: Translator,
    inputs: Sequence[str],
    out: Path,
    warn: Callable[[str], None],
    about: Provenance | None = None,
) -> dict[str, Any]:
    """Writes a PNG for each image: of files, of folders and what lies below them, of patterns such as `photos/*.jpg`.

    about: what the files say of themselves.

    What cannot be read is skipped, named to `warn` and counted. Raises ConfigError for an input that holds no image,
    for one that would be overwritten, where nothing can be read at all, and where nothing can be written.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; translations are written into a folder, give another --out")
    files = _named(list(_found(inputs)), out)
    written, skipped = 0, {}
    for source, target in files:
        try:
            made = _translated(translator, source)
        # Pillow raises nearly anything for one broken format or another.
        except Exception as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise ConfigError(f"{source}: out of memory; give a smaller --tile than {translator.tile}") from error
            skipped[str(source)] = str(error).splitlines()[0] if str(error) else type(error).__name__
            warn(f"skipping {source} ({skipped[str(source)]})")
            continue
        try:
            write(made, target, about)
        except OSError as error:
            raise ConfigError(f"{target}: cannot be written ({error.strerror or error}); give another --out") from error
        written += 1
    if not written:
        raise ConfigError(f"{', '.join(inputs)}: not one image can be read; see the {len(skipped)} names above")
    return {"path": str(out), "to": translator.to.upper(), "translated": written, "skipped": skipped}


def _translated(translator: Translator, source: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(source, formats=FORMATS) as picture:
            return translator.picture(picture)


def _found(inputs: Sequence[str]) -> Iterator[tuple[Path, Path]]:
    """Files, and what they are called below the input."""
    for given in inputs:
        path, found = Path(given), []
        if path.is_file():
            found = [(path, Path(path.name))]
        elif path.is_dir():
            below = (file for file in sorted(path.rglob("*")) if file.suffix.lower() in ENDINGS and file.is_file())
            found = [(file, file.relative_to(path)) for file in below]
            if not found:
                raise ConfigError(f"{given}: holds no images ({', '.join(ENDINGS)})")
        elif glob.has_magic(given):
            found = [(file, Path(file.name)) for file in map(Path, sorted(glob.glob(given, recursive=True)))]  # noqa: PTH207
            found = [pair for pair in found if pair[0].is_file()]
            if not found:
                raise ConfigError(f"{given}: matches no file")
        else:
            raise ConfigError(f"{given}: no such file or folder")
        yield from found


def _named(found: Sequence[tuple[Path, Path]], out: Path) -> list[tuple[Path, Path]]:
    """Each file with the PNG to write: a.jpg becomes a.png, or a.jpg.png where there is another a."""
    stems = [str(name.with_suffix("")) for _, name in found]
    files, taken = [], {}
    for (source, name), stem in zip(found, stems, strict=True):
        target = out / (f"{stem}.png" if stems.count(stem) == 1 else f"{name}.png")
        if target.resolve() == source.resolve():
            raise ConfigError(f"{source}: would be overwritten; give another --out than {out}")
        if target in taken:
            raise ConfigError(f"{source} and {taken[target]} would both be written to {target}; translate them apart")
        taken[target] = source
        files.append((source, target))
    return files
