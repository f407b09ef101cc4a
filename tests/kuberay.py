"""What KubeRay takes: its own custom resource definitions, oldest and newest release that our manifests are for.

tests/schemas/kuberay-VERSION.json is made of KubeRay's (github.com/ray-project/kuberay, Apache-2.0) folder
helm-chart/kuberay-operator/crds by `python -m tests.kuberay CRDS VERSION`: API version v1, without descriptions, and
without the pods inside, which are for Kubernetes' own schema to judge.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).with_name("schemas")
KINDS = ("RayCluster", "RayJob")
PODS = ("template", "submitterPodTemplate")
# A name that Kubernetes takes for a label, short enough for what KubeRay adds to it.
NAME = {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 47}
METADATA = {"type": "object", "properties": {"name": NAME}, "required": ["name"]}


@cache
def schemas(kind: str) -> list[dict[str, Any]]:
    """The JSON schemas that a document of the kind must keep to, one a release, with unknown keys refused."""
    found = [json.loads(file.read_text(encoding="utf-8"))[kind] for file in sorted(FOLDER.glob("kuberay-*.json"))]
    for schema in found:
        schema["properties"] |= {
            "apiVersion": {"const": "ray.io/v1"},
            "kind": {"const": kind},
            "metadata": METADATA,
        }
        schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    return [_strict(schema) for schema in found]


def _strict(schema: Any) -> Any:
    """The same schema, as strict as the API server's validation, with Kubernetes' own words put in JSON schema's."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string") is True:
        return {"type": ["integer", "string"]}
    schema = {key: _strict(value) for key, value in schema.items()}
    open_to_all = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict) and not open_to_all:
        schema["additionalProperties"] = False
    return schema


def _definition(crds: Path, kind: str) -> dict[str, Any]:
    definition = yaml.load((crds / f"ray.io_{kind.lower()}s.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)
    (version,) = [version for version in definition["spec"]["versions"] if version["name"] == "v1"]
    return _short(version["schema"]["openAPIV3Schema"])


def _short(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_short(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _short(value) for key, value in schema.items() if not (key == "description" and type(value) is str)}
    if isinstance(properties := kept.get("properties"), dict):
        kept["properties"] = {key: {"type": "object"} if key in PODS else value for key, value in properties.items()}
    return kept


if __name__ == "__main__":
    made = {kind: _definition(Path(sys.argv[1]), kind) for kind in KINDS}
    text = json.dumps(made, indent=None, separators=(",", ":"), sort_keys=True)
    (FOLDER / f"kuberay-{sys.argv[2]}.json").write_text(text + "\n", encoding="utf-8")
