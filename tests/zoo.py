"""Every shipped image architecture with its options, narrow enough for tests: (fields, shape of a sample)."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import TypeAdapter
from torch import nn

from gandist import Architecture, Facts, Noise

CLASSES = 3
Case = tuple[dict[str, Any], tuple[int, ...]]

NARROW: dict[str, dict[str, Any]] = {
    "mlp-conv": {"latent": 8, "dropout": 0.0},
    "dcgan": {"width": 4, "latent": 8, "norm": "layer"},
    "sngan-resnet": {"width": 4, "latent": 8},
    "biggan": {"width": 2, "embedding": 6},
    "stylegan2": {"channel_base": 128, "channel_max": 8, "latent": 8, "style": 12, "mapping_layers": 2},
    "r3gan": {"width": 16, "group": 4, "blocks": 1, "latent": 8},
}
SIZES = {
    "mlp-conv": (28,),
    "dcgan": (16, 32, 64, 128),
    "sngan-resnet": (32, 64, 128),
    "biggan": (32, 64, 128),
    "stylegan2": (16, 32, 64, 128, 256),
    "r3gan": (16, 32, 64, 128, 256),
}
CONDITIONINGS = {
    name: ("none", "projection") if name in ("biggan", "stylegan2", "r3gan") else
    ("none", "projection", "auxiliary-classifier")
    for name in NARROW
}  # fmt: skip
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "mlp-conv": [{"norm": "spectral", "pack": 2}, {"conditioning": "projection", "generator_labels": "latent"}],
    "dcgan": [{"pack": 2}, {"conditioning": "auxiliary-classifier", "generator_labels": "latent", "norm": "spectral"}],
    "sngan-resnet": [
        {"attention": 16, "generator_norm": "spectral", "conditioning": "projection"},
        {"conditioning": "auxiliary-classifier", "generator_labels": "latent", "norm": "none"},
        {"pack": 2, "norm": "layer"},
    ],
    "biggan": [{"attention": 16}, {"hierarchical": False, "conditioning": "none", "pack": 2}],
    "stylegan2": [{"residual": False, "group": 1, "mixing": 0.0}],
    "r3gan": [{"pack": 2, "blocks": 2}],
}


def smallest(name: str) -> int:
    return SIZES[name][0]


QUICK: list[Case] = [
    *(
        ({"name": name, **NARROW[name], "conditioning": conditioning}, (1, smallest(name), smallest(name)))
        for name in NARROW
        for conditioning in CONDITIONINGS[name]
    ),
    *(
        ({"name": name, **NARROW[name], **options}, (3, smallest(name), smallest(name)))
        for name in NARROW
        for options in OPTIONS[name]
    ),
]
SLOW: list[Case] = [
    ({"name": name, **NARROW[name], "conditioning": conditioning}, (channels, size, size))
    for name in NARROW
    for conditioning in CONDITIONINGS[name]
    for size in SIZES[name]
    for channels in (1, 3)
]


def label(case: Case) -> str:
    fields, shape = case
    said = [f"{key}={value}" for key, value in fields.items() if key not in NARROW[fields["name"]] and key != "name"]
    return "-".join([fields["name"], *said, "×".join(map(str, shape))])


def architecture(fields: dict[str, Any]) -> Architecture:
    return TypeAdapter(Architecture).validate_python(fields)


def build(fields: dict[str, Any], shape: tuple[int, ...], classes: int = CLASSES) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator from one seed."""
    torch.manual_seed(0)
    made, facts = architecture(fields), Facts(shape, classes, 100, "zoo")
    assert made.refuse(facts) is None
    networks = made.build(facts)
    return networks["generator"], networks["discriminator"]


def noise(n: int, start: int = 0, stop: int | None = None, dtype: torch.dtype = torch.float32) -> Noise:
    return Noise(0, start=start, stop=stop or n, total=n, device=torch.device("cpu"), dtype=dtype)
