"""The tables of configs/README.md, made from the classes that read a config.

`python tests/config_tables.py` writes them anew; a test fails while they differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gandist.config.evaluate import Best, Evaluate
from gandist.config.places import describe
from gandist.config.schema import Cluster, Config, Ema, Run, Train
from gandist.config.section import Section
from gandist.config.start import Start
from gandist.config.yaml import write_yaml
from gandist.contract.anneal import Anneal
from gandist.contract.component import summary
from gandist.contract.components import KINDS, Watcher
from gandist.contract.discovery import installed
from gandist.contract.optimizing import Schedule

DOCUMENT = Path(__file__).parents[1] / "configs" / "README.md"
BEGIN, END = "<!-- made by tests/config_tables.py: begin -->", "<!-- made by tests/config_tables.py: end -->"
SECTIONS: dict[str, type[Section]] = {
    "run": Run,
    "start": Start,
    "train": Train,
    "train.ema": Ema,
    "cluster": Cluster,
    "evaluate": Evaluate,
    "evaluate.best": Best,
}
TITLES = {"datasets": "dataset", "architectures": "architecture", "losses": "loss", "optimizers": "optimizer.PLAYER"}
TITLES |= {"regularizers": "loss.regularizers", "augmentations": "augmentations", "watchers": "tracking"}
TITLES |= {"extractors": "evaluate.features", "metrics": "evaluate.metrics"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def tables() -> str:
    """All tables, as Markdown."""
    return "\n".join([*_whole(), *_sections(), *_components()])


def in_document(text: str) -> str:
    """What stands between the marks."""
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def _whole() -> Iterator[str]:
    yield "### The sections\n"
    yield "| section | required | meaning |\n| --- | --- | --- |"
    for key, field in Config.model_fields.items():
        # A file need not write `run`: its name is the file's.
        required = "yes" if field.is_required() and key != "run" else "no"
        yield f"| `{key}` | {required} | {_meaning(field)} |"
    yield ""


def _sections() -> Iterator[str]:
    for path, section in SECTIONS.items():
        yield f"### `{path}`\n"
        yield from _table(section, f"{path}.")


def _components() -> Iterator[str]:
    for kind in KINDS:
        yield f"### `{TITLES[kind.kind]}`: {kind.kind}\n"
        for component in installed().components(kind):
            plugin = installed().provider(component)
            if plugin is None or plugin.distribution != "gandist":
                continue
            # Watchers have no name in YAML but the key of their section.
            title = f"tracking.{component.name}" if kind is Watcher else f"name: {component.name}"
            aliases = "".join(f", also `{alias}`" for alias in component.aliases)
            yield f"**`{title}`**{aliases}. {summary(component)}\n"
            yield from _table(component)
        if kind.kind == "regularizers":
            yield "**`anneal`** of any regularizer, and of what else has it. Where a number goes as images are seen.\n"
            yield from _table(Anneal, "anneal.")
        if kind.kind == "optimizers":
            yield "**`schedule`** of any optimizer. How its learning rate changes with the images seen.\n"
            yield from _table(Schedule, "schedule.")


def _table(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    if not model.model_fields:
        yield "No keys.\n"
        return
    yield "| key | type | default | meaning |\n| --- | --- | --- | --- |"
    for name, field in model.model_fields.items():
        key = field.alias or name
        yield f"| `{prefix}{key}` | {_type(field)} | {_default(prefix + key, field)} | {_meaning(field)} |"
    yield ""


def _type(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {bound}"
        for rule in field.metadata
        for attribute, sign in BOUNDS.items()
        if (bound := getattr(rule, attribute, None)) is not None
    ]
    return ", ".join([describe(field.annotation), *bounds])


def _default(path: str, field: FieldInfo) -> str:
    if path == "run.name":
        return "the file's stem"
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its keys' defaults"
    if isinstance(value, tuple):
        value = [one.model_dump(exclude_defaults=True) if isinstance(one, BaseModel) else one for one in value]
    return f"`{write_yaml(value, flow=True)}`"


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{tables().strip()}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
