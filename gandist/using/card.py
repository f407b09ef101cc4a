"""The model card beside an exported generator: Markdown with the front matter that Hugging Face reads.

What a run is for, and how it is asked, it says by the protocols that its loss meets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

import gandist
from gandist.contract.translating import Translates
from gandist.evaluation.summary import lines
from gandist.training.checkpoint import step_of, write_file
from gandist.training.foreign import read_json
from gandist.training.sampling import draw, draws
from gandist.using.abilities import Ability, abilities
from gandist.using.trained import Trained

MARK = "<!-- Written by gandist export. Remove this line once you have edited the card, and it is not overwritten. -->"
UNKNOWN = "unknown"
_FILL_IN = "unknown: fill in"
_RESULT = "result.json"
_WEIGHTS = """import json
import torch
import yaml
from safetensors import safe_open

from gandist import Facts
from gandist.config.resolve import resolve
from gandist.training.players import build_networks
{imports}
with safe_open("{file}", "pt") as file:
    about = file.metadata()
    weights = {{name: file.get_tensor(name) for name in file.keys()}}
facts = json.loads(about["facts"])
facts = Facts(**{{key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}})
config = resolve(yaml.safe_load(about["config"]))
generator = build_networks(config, facts)["generator"]
generator.load_state_dict(weights)
{made}"""
_DRAWN = (
    "from gandist.training.sampling import samples\n",
    'made = torch.cat(list(samples(generator, facts, seed=0, start=0, stop=4, device=torch.device("cpu"))))',
)
_TRANSLATED = (
    "",
    """generator.eval()
images = torch.rand(4, {shape}) * 2 - 1  # yours, of the other domain, in [-1, 1]
with torch.no_grad():
    made = config.loss.translate({{"generator": generator}}, images, "{to}")""",
)
_PROGRAM = """import torch

generator = torch.export.load("{file}").module()
made = generator({torch_inputs})"""
_ONNX = """import numpy as np
import onnxruntime

generator = onnxruntime.InferenceSession("{file}")
(made,) = generator.run(["images"], {numpy_inputs})"""


def write_card(trained: Trained, exported: Path) -> tuple[Path, bool]:
    """Writes NAME.md beside the exported NAME.onnx, and returns its path and whether it was written.

    A card that somebody has edited, which is one without its last line, stays as it is.
    """
    path = exported.with_suffix(".md")
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        return path, False
    write_file(path, card(trained, exported.name).encode())
    return path, True


def card(trained: Trained, file: str) -> str:
    """The card of a generator that was exported as `file`."""
    metrics, able = _metrics(trained), abilities(trained)
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(trained, metrics, able), sort_keys=False, allow_unicode=True)}---",
        f"# {trained.config.run.name}",
        _about(trained),
        "## What the run does",
        _doing(able),
        "## Intended use",
        "\n\n".join([*dict.fromkeys(one.use for one in able), "*Fill in: what it was made for, and by whom.*"]),
        "## Out of scope",
        _bullets(dict.fromkeys(limit for one in able for limit in one.limits))
        + "\n\n*Fill in: what else it should not be used for.*",
        "## Data",
        _data(trained),
        "## Scores",
        _scores(trained, metrics),
        "## How to load it",
        f"```python\n{_loading(trained, file)}\n```\n\n{_shapes(trained, file)}",
        "## Training",
        _training(trained),
        MARK,
    ]
    return "\n\n".join(parts) + "\n"


def _doing(able: Sequence[Ability]) -> str:
    """The verbs that serve the run."""
    lines = []
    for one in able:
        lines.append(f"It {one.does}: `{one.command}`.{f' {one.lacks}' if one.lacks else ''}")
    return _bullets(lines)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _front_matter(trained: Trained, metrics: Mapping[str, float], able: Sequence[Ability]) -> dict[str, Any]:
    dataset = trained.config.dataset
    found: dict[str, Any] = {"license": dataset.licence or UNKNOWN, "library_name": "gandist"}
    # Of the tasks that Hugging Face knows the nearest to what the loss is for, of conditional generators too.
    task = able[0].task if able and trained.facts.images else None
    if task is not None:
        found["pipeline_tag"] = task
    found["tags"] = ["gan", "gandist", trained.config.architecture.name, trained.config.loss.name]
    found["tags"] += dict.fromkeys(one.tag for one in able if one.tag)
    if metrics:
        found["model-index"] = [
            {
                "name": trained.config.run.name,
                "results": [
                    {
                        "task": {"type": task or "other"},
                        "dataset": {"name": dataset.name, "type": dataset.name},
                        "metrics": [{"type": name, "value": value} for name, value in metrics.items()],
                    }
                ],
            }
        ]
    return found


def _about(trained: Trained) -> str:
    facts, config = trained.facts, trained.config
    what = f"images of {_size(facts.shape)}" if facts.images else f"points of {facts.shape[0]} numbers"
    if not draws({"generator": trained.generator}):
        makes = f"turns given images into others, and has learnt from {what}"
    elif trained.conditional:
        makes = f"makes {what}, of the class that it is asked for ({facts.classes} in all)"
    else:
        makes = f"makes {what}"
    return (
        f"The generator of a generative adversarial network, trained with gandist {gandist.__version__}: loss "
        f"`{config.loss.name}`, architecture `{config.architecture.name}`. It {makes}. **All that it makes is "
        "synthetic.**"
    )


def _size(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{width}×{height} pixels and {channels} channel{'' if channels == 1 else 's'}"


def _data(trained: Trained) -> str:
    facts, dataset = trained.facts, trained.config.dataset
    rows = [
        ("data set", f"`{dataset.name}`"),
        ("licence", dataset.licence or _FILL_IN),
        ("samples", f"{facts.size:,}"),
        ("shape", " × ".join(map(str, facts.shape))),
        ("labels", ", ".join(facts.class_names) or (f"{facts.classes}" if facts.classes else "none")),
        ("fingerprint", f"`{facts.fingerprint}`"),
    ]
    return _table(rows) + (
        "\n\nThe licence is that of the data, where gandist knows it; whether it reaches a generator trained on them, "
        "and which licence this file has, is for you to say."
    )


def _metrics(trained: Trained) -> dict[str, float]:
    """The run's scores, if they are of this step; {} if there are none."""
    run = trained.path.parent.parent if step_of(trained.path) is not None else trained.path
    try:
        result = read_json(run / _RESULT)
        if result.get("steps") != trained.step:
            return {}
        return {str(name): float(value) for name, value in dict(result["metrics"]).items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _scores(trained: Trained, metrics: Mapping[str, float]) -> str:
    if not metrics:
        return f"None are kept of step {trained.step:,}; `gandist evaluate RUN` gives them with their protocol."
    section = trained.config.evaluate.model_dump(mode="json")
    protocol = {name: section[name] for name in ("count", "features", "metrics") if name in section}
    return (
        f"{_table(lines(metrics), 'score')}\n\nOf the smoothed networks at step {trained.step:,}; in brackets what "
        f"real samples get. Protocol (`gandist evaluate RUN` gives all of it):\n\n```yaml\n{_yaml(protocol)}\n```"
    )


def _training(trained: Trained) -> str:
    images, versions = trained.about.get("images"), trained.about.get("versions") or {}
    rows = [
        ("run", f"`{trained.config.run.name}`"),
        ("run id", f"`{trained.about['run_id']}`" if "run_id" in trained.about else UNKNOWN),
        ("step", f"{trained.step:,}"),
        ("images seen", f"{images:,}" if isinstance(images, int) else UNKNOWN),
        ("versions", ", ".join(f"{name} {number}" for name, number in versions.items()) or UNKNOWN),
    ]
    return f"{_table(rows)}\n\n```yaml\n{_yaml(trained.config.model_dump(mode='json'))}\n```"


def _table(rows: list[tuple[str, str]], what: str = "") -> str:
    # A bar would end the cell.
    shown = [(name.replace("|", "\\|"), value.replace("|", "\\|")) for name, value in rows]
    return "\n".join([f"| {what} | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in shown)])


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip("\n")


def _latents(trained: Trained) -> Any:
    return draw(trained.generator, 0, 0, 1, 0, trained.device)[0]


def _loading(trained: Trained, file: str) -> str:
    ending = Path(file).suffix.lower()
    if ending == ".safetensors":
        imports, made = _DRAWN if draws({"generator": trained.generator}) else _TRANSLATED
        to = loss.targets[0] if isinstance(loss := trained.config.loss, Translates) else ""
        shape = ", ".join(map(str, trained.facts.shape))
        return _WEIGHTS.format(file=file, imports=imports, made=made.format(shape=shape, to=to))
    size = ", ".join(map(str, _latents(trained).shape[1:]))
    labels = trained.conditional
    torch_inputs = f"torch.randn(4, {size})" + (", torch.tensor([0, 1, 0, 1])" if labels else "")
    arrays = [f'"latents": np.random.randn(4, {size}).astype(np.float32)']
    arrays += ['"labels": np.array([0, 1, 0, 1])'] if labels else []
    text = _ONNX if ending == ".onnx" else _PROGRAM
    return text.format(file=file, torch_inputs=torch_inputs, numpy_inputs=f"{{{', '.join(arrays)}}}")


def _shapes(trained: Trained, file: str) -> str:
    made = "(B, C, H, W) in [-1, 1]" if trained.facts.images else "(B, D)"
    if Path(file).suffix.lower() == ".safetensors":
        kind = "uint8 (4, C, H, W)" if trained.facts.images else "float32 (4, D)"
        kind = kind if draws({"generator": trained.generator}) else "float32 (4, C, H, W) in [-1, 1]"
        return f"`made` is {kind}. The file has the config and the facts of the data as metadata; gandist is needed."
    latents = _latents(trained)
    assert isinstance(latents, Tensor), "only plain latents are exported so"
    labels = "`labels` int64 (B,); " if trained.conditional else ""
    return (
        f"`latents` float32 (B, {', '.join(map(str, latents.shape[1:]))}), standard normal as all generators that come "
        f"with gandist draw them; {labels}`made` float32 {made}. gandist is not needed."
    )
