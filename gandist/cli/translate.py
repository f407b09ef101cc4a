"""The verb that turns images of one domain into another's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gandist.cli.app import JsonOption, MetadataOption, RunArgument, verb
from gandist.cli.output import print_result


@verb
def translate(
    run: RunArgument,
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Images, folders of them, or patterns.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the translations, as PNG.")],
    to: Annotated[
        str | None, typer.Option(metavar="A|B", help="Domain to translate to; by default what the run is for.")
    ] = None,
    tile: Annotated[
        int, typer.Option(min=64, help="Larger images go through in overlapping tiles of this many pixels a side.")
    ] = 512,
    metadata: MetadataOption = True,
    as_json: JsonOption = False,
) -> None:
    """Translate images with a trained run.

    Any size; transparency and orientation are kept. Files that cannot be read are named, counted and skipped.

    \b
    gandist translate runs/cyclegan photos --to B --out sketches
    """
    import torch

    from gandist.using.load import load
    from gandist.using.translate import Translator, write_translations

    trained = load(run, "cuda" if torch.cuda.is_available() else "cpu")
    # What was photographed is still in it.
    about = trained.provenance(None, mixed=True) if metadata else None
    translator = Translator.of(trained, to, tile)
    result = write_translations(translator, inputs, out, lambda text: print(text, file=sys.stderr), about)
    print_result({**result, "skipped": result["skipped"] if as_json else len(result["skipped"])}, as_json)
