"""Files as somebody with bad intentions would send them."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gandist.training import checkpoint

MEBIBYTE = bytes(2**20)


class Touch:
    """Unpickled without care, it makes a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.marker,)


def sign(path: Path, **more: Any) -> None:
    """Makes the manifest of a checkpoint say what its files are now; `more` are further entries of `files`."""
    manifest = checkpoint.manifest(path)
    names = (checkpoint.NETWORKS, checkpoint.STATE, checkpoint.CONFIG)
    manifest["files"] = {name: checkpoint._fingerprint(path / name) for name in names} | more
    (path / checkpoint.MANIFEST).write_text(json.dumps(manifest))


def gzip_bomb(path: Path, begin: bytes, mebibytes: int) -> None:
    """A gzip file of `begin` and zeros, a thousandth of its content in size."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(begin)
        for _ in range(mebibytes):
            file.write(MEBIBYTE)


def tar_bomb(path: Path, mebibytes: int, kind: bytes) -> None:
    """A tar.gz whose one member, a file or the name of one, is that long."""
    member = tarfile.TarInfo("data_batch_1.bin")
    member.size, member.type = mebibytes * 2**20, kind
    gzip_bomb(path, member.tobuf(tarfile.GNU_FORMAT), mebibytes)


def png_bomb(path: Path, side: int) -> None:
    """A PNG of side × side white pixels in a few kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def npz_bomb(path: Path, shape: tuple[int, ...], mebibytes: int) -> None:
    """An .npz whose `images` says that it has this shape, and unpacks to that much."""
    header = io.BytesIO()
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    header.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode())
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("images.npy", "w", force_zip64=True) as file,
    ):
        file.write(header.getvalue())
        for _ in range(mebibytes):
            file.write(MEBIBYTE)
