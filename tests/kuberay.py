"""What KubeRay 1.5.1 to 1.7 takes, as a JSON schema of the parts that our manifests use; the pods inside are for
Kubernetes' own schema. Any other key is refused, as the API server's strict validation does.

With GANDIST_KUBERAY_CRDS naming the folder `crds` of KubeRay's helm chart its custom resource definitions are used too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

CRDS = os.environ.get("GANDIST_KUBERAY_CRDS")
POD: dict[str, Any] = {"type": "object"}
"""A pod template, for Kubernetes to judge."""


def _closed(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required or [],
        "additionalProperties": False,
    }


_text, _number, _switch = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
_words = {"type": "object", "additionalProperties": _text}
_quantities = {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}
_resources = _closed(requests=_quantities, limits=_quantities)
_group = _closed(
    ["groupName", "template"],
    groupName=_text,
    replicas=_number,
    minReplicas=_number,
    maxReplicas=_number,
    numOfHosts=_number,
    rayStartParams=_words,
    template=POD,
)
CLUSTER = _closed(
    ["headGroupSpec", "rayVersion"],
    rayVersion=_text,
    authOptions=_closed(mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling=_switch,
    autoscalerOptions=_closed(
        version={"enum": ["v1", "v2"]},
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
        idleTimeoutSeconds=_number,
        resources=_resources,
    ),
    headGroupSpec=_closed(["template"], rayStartParams=_words, template=POD),
    workerGroupSpecs={"type": "array", "items": _group},
)
JOB = _closed(
    ["entrypoint", "rayClusterSpec"],
    entrypoint=_text,
    backoffLimit=_number,
    activeDeadlineSeconds=_number,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    shutdownAfterJobFinishes=_switch,
    ttlSecondsAfterFinished=_number,
    runtimeEnvYAML=_text,
    rayClusterSpec=CLUSTER,
)


def _document(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    # A name that Kubernetes takes for a label, short enough for what KubeRay adds to it.
    name = {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 47}
    metadata = {"type": "object", "properties": {"name": name}, "required": ["name"]}
    return _closed(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": "ray.io/v1"},
        kind={"const": kind},
        metadata=metadata,
        spec=spec,
    )


SCHEMAS = {"RayCluster": _document("RayCluster", CLUSTER), "RayJob": _document("RayJob", JOB)}


def schemas(kind: str) -> list[dict[str, Any]]:
    """The schemas that a document of the kind must keep to."""
    return [SCHEMAS[kind], *([_strict(_definition(kind))] if CRDS else [])]


def _definition(kind: str) -> dict[str, Any]:
    file = Path(CRDS or "", f"ray.io_{kind.lower()}s.yaml")
    definition = yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader)
    (version,) = [version for version in definition["spec"]["versions"] if version["name"] == "v1"]
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _strict(schema: Any) -> Any:
    """The same schema, with unknown keys refused and Kubernetes' own words put in JSON schema's."""
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
