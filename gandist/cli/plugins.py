"""The verb `plugins`: what is installed, what a component takes, and a new package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gandist.cli.app import JsonOption, verb
from gandist.cli.output import print_json, print_table
from gandist.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from gandist.contract.component import Component
    from gandist.contract.discovery import Plugin

_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "multiple of", "pattern": "matches"}


@verb
def plugins(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME|new", help="A component to describe, or `new` for a package.")
    ] = None,
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="Folder of the new package.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List or describe what is installed; write a new plugin."""
    if name == "new":
        _new(folder, as_json)
    elif folder is not None:
        raise ConfigError(
            f"gandist plugins {name} {folder}: too many arguments; a new package: gandist plugins new DIR"
        )
    elif name is None:
        _list(as_json)
    else:
        _describe(name, as_json)


def _new(folder: Path | None, as_json: bool) -> None:
    if folder is None:
        raise ConfigError("gandist plugins new: needs a folder, which becomes the package: gandist plugins new DIR")
    from gandist.testing.scaffold import new_plugin

    made = new_plugin(folder)
    if as_json:
        print_json({"folder": str(folder), "files": [str(file) for file in made or ()]})
    else:
        print(f"{folder}: a new plugin package; pip install -e {folder}, then pytest {folder}")


def _list(as_json: bool) -> None:
    from gandist.contract.components import KINDS
    from gandist.contract.discovery import installed

    found = installed().plugins
    if as_json:
        print_json([_as_dict(plugin) for plugin in found])
        return
    rows = []
    for plugin in found:
        cells = (plugin.name, plugin.distribution, plugin.version)
        if plugin.error:
            rows.append((*cells, "broken", plugin.error))
        for kind in KINDS:
            names = [_with_aliases(c) for c in plugin.components if issubclass(c, kind)]
            if names:
                rows.append((*cells, kind.kind, ", ".join(names)))
    print_table(("plugin", "distribution", "version", "kind", "components"), rows)


def _as_dict(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "module": plugin.module,
        "error": plugin.error,
        "components": [{"kind": c.kind, "name": c.name, "aliases": list(c.aliases)} for c in plugin.components],
    }


def _with_aliases(component: type[Component]) -> str:
    return f"{component.name} ({', '.join(component.aliases)})" if component.aliases else component.name


def _describe(name: str, as_json: bool) -> None:
    from gandist.contract.discovery import installed

    registry = installed()
    found = [known[name] for known in registry.by_name.values() if name in known]
    if not found:
        names = sorted({known for kind in registry.by_name.values() for known in kind})
        raise ConfigError(
            f"no component is called '{name}'{did_you_mean(name, names) or ';'} gandist plugins lists all"
        )
    described = [_component(component) for component in found]
    if as_json:
        print_json(described)
        return
    for component in described:
        origin = f"{component['kind']}, {component['distribution']} {component['version']}"
        print(f"{component['name']} ({origin})\n{component['doc']}\n")
        rows = [(f["name"], f["type"], f["default"], f["bounds"], f["doc"]) for f in component["fields"]]
        print_table(("field", "type", "default", "bounds", "what it does"), rows) if rows else print("no fields")


def _component(component: type[Component]) -> dict[str, Any]:
    from gandist.contract.component import summary
    from gandist.contract.discovery import installed

    plugin = installed().provider(component)
    return {
        "name": component.name,
        "kind": component.kind,
        "distribution": plugin.distribution if plugin else "?",
        "version": plugin.version if plugin else "?",
        "doc": summary(component),
        "fields": [_field(key, info) for key, info in component.model_fields.items()],
    }


def _plain(value: Any) -> Any:
    from pydantic import BaseModel

    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _field(name: str, info: FieldInfo) -> dict[str, str]:
    from gandist.config.places import describe
    from gandist.config.yaml import write_yaml

    default = "required"
    if not info.is_required():
        value = info.get_default(call_default_factory=True)
        plain = [_plain(one) for one in value] if isinstance(value, tuple) else _plain(value)
        default = write_yaml(plain, flow=True)
    bounds = [
        f"{sign} {bound}"
        for rule in info.metadata
        for attribute, sign in _BOUNDS.items()
        if (bound := getattr(rule, attribute, None)) is not None
    ]
    return {
        "name": name,
        "type": describe(info.annotation),
        "default": default,
        "bounds": ", ".join(bounds),
        "doc": " ".join((info.description or "").split()),
    }
