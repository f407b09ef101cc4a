"""The generator in the formats of others."""

from __future__ import annotations

import json
import logging
import secrets
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from gandist.errors import ConfigError
from gandist.training.checkpoint import write_tensors
from gandist.training.sampling import draw
from gandist.using.card import write_card
from gandist.using.trained import Trained


class Unconditional(nn.Module):
    """A generator of latents alone, so that exported files ask for no labels that are not heeded."""

    def __init__(self, generator: nn.Module):
        super().__init__()
        self.generator = generator

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (B, …) to images (B, C, H, W) in [-1, 1], or points (B, D)."""
        return self.generator(latents, None)


def export(trained: Trained, out: Path) -> dict[str, Any]:
    """Writes the smoothed generator.

    .safetensors: weights and buffers, with config and facts as metadata. .onnx and .pt2 (torch.export): a network with
    input `latents` (and `labels` int64 (B,), if it heeds them) and output `images`, for any batch size B. Beside it
    NAME.md, a model card, unless an edited one lies there.
    Raises ConfigError for another ending, for latents that are no plain tensor, and if the extra `onnx` is missing.
    """
    out = Path(out)
    writers: dict[str, Callable[[Trained, Path], None]] = {
        ".safetensors": _write_weights,
        ".onnx": _write_onnx,
        ".pt2": _write_program,
    }
    if out.suffix.lower() not in writers:
        raise ConfigError(f"{out}: a generator is exported as {', '.join(writers)}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        writers[out.suffix.lower()](trained, out)
        card, written = write_card(trained, out)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror or error}); give another --out") from error
    told = str(card) if written else f"{card} is kept, since somebody has edited it; move it away for a new one"
    return {"path": str(out), "bytes": out.stat().st_size, "card": told, "step": trained.step}


def _write_weights(trained: Trained, out: Path) -> None:
    about = {
        "step": str(trained.step),
        "config": yaml.safe_dump(trained.config.model_dump(mode="json"), sort_keys=False),
        "facts": json.dumps(asdict(trained.facts)),
    }
    write_tensors(out, trained.generator.state_dict(), about)


def _network(trained: Trained) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network to trace, and example inputs by name."""
    latents, labels = draw(trained.generator, 0, 0, 2, trained.facts.classes, trained.device)
    if not isinstance(latents, Tensor):
        raise ConfigError(f"{trained.path}: its latents have several parts; export it as .safetensors")
    if trained.conditional:
        return trained.generator, {"latents": latents, "labels": labels}
    return Unconditional(trained.generator).eval(), {"latents": latents}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks on torch's insides, which no user can act on. Errors still come through."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _traced(trained: Trained) -> tuple[torch.export.ExportedProgram, dict[str, Tensor]]:
    network, inputs = _network(trained)
    batch = torch.export.Dim("batch", min=1)
    shapes = {name: {0: batch} for name in inputs}
    with _quiet():
        return torch.export.export(network, tuple(inputs.values()), dynamic_shapes=shapes, strict=False), inputs


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A temporary name beside `out` that becomes `out` only if all went well; it keeps the ending."""
    temporary = out.with_name(f".{secrets.token_hex(4)}-{out.name}")
    try:
        yield temporary
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def _write_program(trained: Trained, out: Path) -> None:
    program, _ = _traced(trained)
    with _whole(out) as temporary:
        torch.export.save(program, temporary)


def _write_onnx(trained: Trained, out: Path) -> None:
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ConfigError(f'{out}: .onnx needs {" and ".join(missing)}: pip install "gandist[onnx]"')
    program, inputs = _traced(trained)
    with _quiet():
        onnx = torch.onnx.export(program, dynamo=True, input_names=list(inputs), output_names=["images"], verbose=False)
    assert onnx is not None
    with _whole(out) as temporary:
        onnx.save(temporary, external_data=False)
