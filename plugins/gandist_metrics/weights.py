"""Published weights of networks: a file, or a URL with its SHA-256, read without running what they hold."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
from pydantic import AfterValidator
from torch import Tensor, nn

from gandist import ConfigError, Source, download

FIELD = "evaluate.features.weights"


def _root(text: str) -> str:
    """A path made absolute, or a URL with the SHA-256 of what is there."""
    if "://" not in text:
        return str(Path(text).expanduser().absolute())
    url, _, digest = text.partition("#sha256=")
    if not url.startswith(("https://", "http://", "s3://", "gs://")) or len(digest) != 64:
        raise ValueError("should be a path, or a URL that ends in #sha256= and 64 hexadecimal digits")
    return text


Weights = Annotated[str, AfterValidator(_root)]


def cure(name: str, url: str) -> str:
    """What to do about weights that cannot be had."""
    return (
        f"get {url} on a machine with a network and give its path: --weights FILE, or in the config "
        f"evaluate.features={{name: {name}, weights: FILE}}"
    )


def found(weights: str | None, url: str, sha256: str, name: str) -> Path:
    """The file of a network's weights; of a URL it is fetched once per node. url, sha256: where they are published.

    Raises ConfigError for what is not there, cannot be fetched, or has another SHA-256.
    """
    if weights is not None and "://" not in weights:
        if not Path(weights).is_file():
            raise ConfigError(f"{FIELD}: there is no {weights}; {cure(name, url)}")
        return Path(weights)
    wanted, _, sha = (weights or f"{url}#sha256={sha256}").partition("#sha256=")
    try:
        return download(
            wanted, sha, FIELD, lambda text: print(f"fetching the weights of {name}, {text}", file=sys.stderr)
        )
    except OSError as error:
        raise ConfigError(f"{FIELD}: the weights of {name} cannot be fetched: {error}; {cure(name, url)}") from None


def load(network: nn.Module, path: Path, what: str, mend: str, unused: Callable[[str], bool]) -> None:
    """Loads the state dict in a file, whose names may begin with "module.".

    what: the network, for messages. mend: what to do about another file. unused: names that the file may hold beside
    the network's own. Raises ConfigError for a file without weights, or with those of another network.
    """
    try:
        # Never more than tensors: what the file says is not executed.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        first = str(error).split("\n", 1)[0][:200]
        raise ConfigError(f"{FIELD}: {path} holds no weights: {first}; {mend}") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    state = {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
    state = {name: value for name, value in state.items() if not unused(name)}
    own = network.state_dict()
    # Counts of batches, which evaluation does not use.
    counts = {name for name in own if name.endswith("num_batches_tracked")}
    missing = sorted(set(own) - counts - set(state))
    other = sorted(set(state) - set(own)) + sorted(n for n in set(own) & set(state) if own[n].shape != state[n].shape)
    if missing or other:
        examples = ", ".join([*(f"no {name}" for name in missing[:2]), *(f"unlike {name}" for name in other[:2])])
        raise ConfigError(
            f"{FIELD}: {path} is not {what} ({examples}; {len(missing)} tensors are missing, {len(other)} do not fit); "
            f"{mend}"
        )
    network.load_state_dict({name: state[name] for name in own if name not in counts}, strict=False)


def sha256_of(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def not_photographs(source: Source) -> str | None:
    """Why networks for grey or coloured images cannot be used on such data, or None."""
    if not source.facts.images:
        return "needs images, the data set has points; use modes, or features: pixels"
    channels = source.facts.shape[0]
    return None if channels in (1, 3) else f"needs images of 1 or 3 channels, these have {channels}"
