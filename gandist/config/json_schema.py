"""The JSON Schema of a config file, for editors."""

from __future__ import annotations

from typing import Any

from gandist.config.schema import Config
from gandist.config.sweep import Sweep
from gandist.contract.components import Watcher
from gandist.contract.discovery import installed

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a config file with the installed plugins.

    It differs from the schema of a complete config in what a file may leave out: all that it extends, the run's name,
    and the names of optimizers and watchers.
    """
    schema = Config.model_json_schema()
    properties = schema["properties"]
    properties["extends"] = {
        "description": "Files to start from, relative to this one; maps merge, lists replace.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    }
    properties["tracking"] = {
        "description": properties["tracking"].get("description", ""),
        "type": "object",
        "additionalProperties": False,
        "properties": {
            w.name: w.model_json_schema(ref_template="#/$defs/{model}") for w in installed().components(Watcher)
        },
    }
    for watcher in properties["tracking"]["properties"].values():
        schema["$defs"] |= watcher.pop("$defs", {})
    schema["$defs"]["Run"].pop("required", None)
    needed = [key for key in schema.pop("required") if key != "run"]
    schema["anyOf"] = [{"required": ["extends"]}, {"required": needed}]
    return {"$schema": _DRAFT, **schema}


def sweep_schema() -> dict[str, Any]:
    """JSON Schema of a sweep file, with the short forms that a file may use."""
    schema = Sweep.model_json_schema()
    properties = schema["properties"]
    properties["search"]["additionalProperties"] = {"anyOf": [{"type": "array"}, {"$ref": "#/$defs/Space"}]}
    names = schema["$defs"]["Scheduler"]["properties"]["name"]["enum"]
    described = {"description": properties["scheduler"].get("description", "")}
    properties["scheduler"] = {**described, "anyOf": [{"enum": names}, {"$ref": "#/$defs/Scheduler"}]}
    schema["required"].remove("name")
    return {"$schema": _DRAFT, **schema}
