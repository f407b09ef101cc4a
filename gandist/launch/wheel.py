"""A wheel of an installed distribution, written from its files alone: the same bytes each time."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from gandist.errors import ConfigError
from gandist.launch.sources import about, files_of

LARGEST = 200 * 2**20
"""Bytes of a wheel that a cluster is asked to hold in its memory and to hand to every node."""
_STAMP = (1980, 1, 1, 0, 0, 0)
_OWN = re.compile(r"g[0-9a-f]{12}")


@dataclass(frozen=True)
class Wheel:
    """A wheel on disk. version: of what is installed here, with a hash of the content as its local part."""

    path: Path
    name: str
    version: str


def pack(distribution: Distribution, folder: Path, provided: Collection[str] = ()) -> Wheel:
    """Writes a wheel of a distribution into `folder`.

    provided: canonical names of distributions that whoever gets the wheel has anyway; requirements on them are left
    out. Raises ConfigError for a distribution whose files are not found or are too large.
    """
    files = files_of(distribution)
    _require_size(distribution, files)
    content = {name: path.read_bytes() for name, path in sorted(files.items())}
    extra = about(distribution)
    metadata = _metadata(distribution, provided)
    version = _version(distribution, {**content, **extra, "METADATA": metadata.encode()})
    stem = f"{re.sub(r'[-_.]+', '_', distribution.name)}-{version}"
    tag = _tag(files)
    folder_in_wheel = f"{stem}.dist-info"
    described = re.sub(r"(?m)^Version:.*$", f"Version: {version}", metadata, count=1)
    content |= {f"{folder_in_wheel}/{name}": extra[name] for name in sorted(extra)}
    content[f"{folder_in_wheel}/METADATA"] = described.encode()
    pure = str(tag == "py3-none-any").lower()
    content[f"{folder_in_wheel}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: gandist\nRoot-Is-Purelib: {pure}\nTag: {tag}\n".encode()
    )
    record = f"{folder_in_wheel}/RECORD"
    lines = [f"{_quoted(name)},sha256={_digest(data)},{len(data)}" for name, data in content.items()]
    content[record] = "\n".join([*lines, f"{record},,"]).encode() + b"\n"
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            # A fixed date and mode, so that the same content is the same file.
            entry = zipfile.ZipInfo(name, _STAMP)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return Wheel(path, distribution.name, version)


def public(version: str) -> str:
    """A version without the hash that `pack` gives it."""
    base, _, local = version.partition("+")
    rest = [part for part in local.split(".") if part and not _OWN.fullmatch(part)]
    return f"{base}+{'.'.join(rest)}" if rest else base


def _require_size(distribution: Distribution, files: Mapping[str, Path]) -> None:
    sizes = {name: path.stat().st_size for name, path in files.items()}
    if sum(sizes.values()) > LARGEST:
        largest = max(sizes, key=lambda name: sizes[name])
        raise ConfigError(
            f"{distribution.name}: its files are {sum(sizes.values()) / 2**20:.0f} MiB, more than the "
            f"{LARGEST // 2**20} MiB that are shipped to a cluster; the largest is {files[largest]} "
            f"({sizes[largest] / 2**20:.0f} MiB): keep data out of the package, or bake it into the image (--no-ship)"
        )


def _metadata(distribution: Distribution, provided: Collection[str]) -> str:
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")
    if text is None:
        raise ConfigError(f"{distribution.name}: has no METADATA; install it again")
    head, blank, body = text.partition("\n\n")
    kept = [line for line in head.splitlines() if not _left_out(line, provided)]
    return "\n".join(kept) + (blank + body if blank else "\n")


def _left_out(line: str, provided: Collection[str]) -> bool:
    if not line.startswith("Requires-Dist:"):
        return False
    try:
        return canonicalize_name(Requirement(line.partition(":")[2].strip()).name) in provided
    except InvalidRequirement:
        return False


def _version(distribution: Distribution, content: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for name, data in sorted(content.items()):
        if name == "METADATA":
            data = re.sub(rb"(?m)^Version:.*$", b"", data, count=1)
        total.update(f"{name}\0{len(data)}\0".encode() + data)
    known = public(distribution.version)
    try:
        Version(known)
    except InvalidVersion:
        known = "0"
    return f"{known}{'.' if '+' in known else '+'}g{total.hexdigest()[:12]}"


def _tag(files: Mapping[str, Path]) -> str:
    if not any(name.endswith(tuple(EXTENSION_SUFFIXES)) for name in files):
        return "py3-none-any"
    from packaging.tags import sys_tags

    return str(next(sys_tags(), f"cp{sys.version_info.major}{sys.version_info.minor}-none-any"))


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _quoted(name: str) -> str:
    return f'"{name}"' if "," in name else name
