"""Data behind URLs: of a real S3 server and a real web server on this machine."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import hostile
import numpy as np
import pictures
import pytest
import torch
from buckets import Bucket, bucket
from gandist_datasets.cifar10 import Cifar10
from gandist_datasets.idx import Idx
from gandist_datasets.image_folder import ImageFolder
from pydantic import ValidationError
from web import Web, web

from gandist import ConfigError, Place, Source
from gandist.cli import main
from gandist.data import distant
from gandist.data.cache import Cache
from gandist.testing import check_dataset


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANDIST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as running:
        yield running


@pytest.fixture(scope="module")
def s3() -> Iterator[Bucket]:
    with bucket() as running:
        yield running


@pytest.fixture
def local(tmp_path: Path) -> Path:
    return pictures.folder(tmp_path / "local")


def images(root: str | Path) -> Source:
    return ImageFolder(root=str(root), size=8).open()


def require_same(one: Source, other: Source) -> None:
    assert one.facts == other.facts
    rows, theirs = one.read(range(len(one))), other.read(range(len(one)))
    assert all(torch.equal(rows[name], theirs[name]) for name in theirs)


def entries(cache: Path) -> list[Path]:
    return list(cache.glob("*/content")) if cache.is_dir() else []


def untold(text: str) -> None:
    """Not told."""


def test_a_folder_in_a_bucket(s3: Bucket, local: Path, cache: Path):
    for name, content in pictures.contents(local).items():
        s3.write(f"photos/{name}", content)
    source = images(s3.url("photos"))
    # Listed and looked into, but not fetched.
    assert source.elsewhere == sum(map(len, pictures.contents(local).values()))
    require_same(source, images(local))
    assert not entries(cache)
    source.prepare(untold)
    for name in pictures.contents(local):
        s3.delete(f"photos/{name}")
    require_same(source, images(local))
    require_same(pickle.loads(pickle.dumps(source)), images(local))


def test_a_folder_in_a_bucket_that_is_changed_is_fetched_anew(s3: Bucket, local: Path):
    for name, content in pictures.contents(local).items():
        s3.write(f"changed/{name}", content)
    images(s3.url("changed")).prepare(untold)
    s3.write("changed/class-0/000.jpg", (local / "class-0" / "002.jpg").read_bytes())
    source = images(s3.url("changed"))
    source.prepare(untold)
    rows = source.read([0, 2])["real"]
    assert torch.equal(rows[0], rows[1])


def test_checksums_beside_the_files(s3: Bucket, local: Path):
    found = pictures.contents(local)
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in found.items()]
    wrong = [lines[1].replace("class-0/001.png", "class-0/000.jpg"), *lines[1:]]
    for folder, sums in (("right", lines), ("wrong", wrong)):
        for name, content in found.items():
            s3.write(f"{folder}/{name}", content)
        s3.write(f"{folder}/SHA256SUMS", "".join(sums).encode())
    images(s3.url("right")).prepare(untold)
    with pytest.raises(ConfigError, match=r"class-0/000\.jpg came with the SHA-256 .* damaged, or was changed"):
        images(s3.url("wrong")).prepare(untold)


def test_a_zip_is_listed_without_fetching_it(server: Web, local: Path, cache: Path):
    # A folder around all, and what macOS leaves in every zip, are neither classes nor images.
    files = {f"photos/{name}": content for name, content in pictures.contents(local).items()}
    files |= {"__MACOSX/photos/._000.jpg": b"x", "photos/big.bin": bytes(2**20)}
    server.contents["photos.zip"] = pictures.zipped(files)
    source = images(server.url("photos.zip"))
    require_same(source, images(local))
    assert server.sent < 200_000
    assert not entries(cache)
    source.prepare(untold)
    server.contents.clear()
    require_same(source, images(local))


def test_a_zip_on_a_server_without_ranges(server: Web, local: Path):
    server.ranges = False
    server.contents["photos.zip"] = pictures.zipped(pictures.contents(local), zipfile.ZIP_DEFLATED)
    require_same(images(server.url("photos.zip")), images(local))


@pytest.mark.parametrize("name", ["photos.tar", "photos.tar.gz", "photos.tgz"])
def test_a_tar(server: Web, local: Path, name: str):
    mode = "w" if name.endswith(".tar") else "w:gz"
    server.contents[name] = pictures.tarred({f"./p/{n}": c for n, c in pictures.contents(local).items()}, mode)
    require_same(images(server.url(name)), images(local))


def test_a_large_tar_is_not_fetched_to_be_checked(server: Web, local: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(distant, "MOST_BLIND", 1000)
    server.contents["photos.tar"] = pictures.tarred(pictures.contents(local), "w")
    with pytest.raises(ConfigError, match=r"photos\.tar is of .* kB, and what is in it .*gandist pack"):
        images(server.url("photos.tar"))
    assert not server.gets("photos.tar")


def test_archives_pass_the_contract(server: Web, local: Path):
    server.contents["photos.zip"] = pictures.zipped(pictures.contents(local))
    check_dataset(ImageFolder(root=server.url("photos.zip"), size=8))


def test_the_sha256_of_an_archive(server: Web, local: Path):
    content = pictures.tarred(pictures.contents(local))
    right = hashlib.sha256(content).hexdigest()
    server.contents["photos.tgz"] = content
    require_same(images(server.url(f"photos.tgz#sha256={right}")), images(local))
    wrong = right.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
    with pytest.raises(ConfigError, match=rf"photos\.tgz came with the SHA-256 {right}, which should be {wrong}"):
        images(server.url(f"photos.tgz#sha256={wrong}"))
    server.contents["other.tgz"], server.contents["other.tgz.sha256"] = content, f"{wrong}  other.tgz\n".encode()
    with pytest.raises(ConfigError, match=wrong):
        images(server.url("other.tgz"))


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files(server: Web, s3: Bucket, packed: bool):
    shape = (3, 28, 28)
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    files = {
        "train-images-idx3-ubyte": struct.pack(">4B3I", 0, 0, 8, 3, *shape) + pixels.tobytes(),
        "train-labels-idx1-ubyte": struct.pack(">4BI", 0, 0, 8, 1, 3) + bytes([0, 1, 1]),
    }
    for name, content in files.items():
        name, content = (f"{name}.gz", gzip.compress(content)) if packed else (name, content)
        server.contents[f"set/{name}"] = content
        s3.write(f"set-{packed}/{name}", content)
    for root in (server.url("set/"), s3.url(f"set-{packed}")):
        rows = Idx(root=root).open().read([0, 1, 2])
        np.testing.assert_array_equal(rows["real"].numpy(), pixels[:, None])
        assert rows["labels"].tolist() == [0, 1, 1]
    with pytest.raises(ConfigError, match=r"no t10k-images-idx3-ubyte \(or t10k-images-idx3-ubyte\.gz\) at http"):
        Idx(root=server.url("set"), split="test").open()


def test_cifar10(server: Web):
    batches = {f"cifar-10-batches-bin/{name}": bytes([3]) + bytes(3072) for name in ("test_batch.bin",)}
    server.contents["c/cifar-10-binary.tar.gz"] = pictures.tarred(batches | {"x": b""})
    for root in ("c", "c/cifar-10-binary.tar.gz"):
        assert Cifar10(root=server.url(root), split="test").open().read([0])["labels"].tolist() == [3]


def test_what_is_missing_is_named(server: Web, s3: Bucket):
    with pytest.raises(ConfigError, match=r"there is no http://.*/none\.zip; is the URL right"):
        images(server.url("none.zip"))
    with pytest.raises(ConfigError, match="there is nothing below s3://bucket/none; is the URL right"):
        images(s3.url("none"))
    with pytest.raises(ConfigError, match=r"a web server cannot be asked what lies below .* archive"):
        images(server.url("folder"))


def test_a_server_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gandist.training.objects.PAUSE", 0.001)
    with pytest.raises(OSError, match=r"http://127\.0\.0\.1:9/x/photos\.zip: .*refused"):
        images("http://127.0.0.1:9/x/photos.zip")


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ("https://me:secret@host/x.zip", "credentials"),
        ("https://host/x.zip?X-Amz-Signature=abc", "credentials"),
        ("https://host/x.zip#sha256=12", "64 hexadecimal digits"),
        (f"s3://bucket/folder#sha256={'a' * 64}", "SHA256SUMS"),
    ],
)
def test_urls_that_are_refused(root: str, said: str):
    with pytest.raises(ValidationError, match=said) as caught:
        ImageFolder(root=root)
    assert "secret" not in str(caught.value).partition("[type=")[0]


@pytest.mark.parametrize("name", ["../escaped.png", "/tmp/escaped.png", "a/../../escaped.png"])
@pytest.mark.parametrize("kind", ["x.zip", "x.tar.gz"])
def test_an_archive_that_leads_out_is_refused(server: Web, local: Path, tmp_path: Path, kind: str, name: str):
    files = pictures.contents(local) | {name: b"x"}
    server.contents[kind] = pictures.zipped(files) if kind == "x.zip" else pictures.tarred(files)
    with pytest.raises(ConfigError, match="leads out"):
        images(server.url(kind)).prepare(untold)
    assert not list(tmp_path.rglob("escaped.png"))


def test_bombs_are_refused(server: Web, tmp_path: Path):
    packed = {f"{number}.png": bytes(25 * 2**20) for number in range(3)}
    server.contents["bomb.zip"] = pictures.zipped(packed, zipfile.ZIP_DEFLATED)
    hostile.tar_bomb(tmp_path / "bomb", 80, b"0")
    server.contents["bomb.tgz"] = (tmp_path / "bomb").read_bytes()
    for name in ("bomb.zip", "bomb.tgz"):
        with pytest.raises(ConfigError, match="decompression bomb"):
            images(server.url(name)).prepare(untold)


def test_an_archive_that_is_cut_short(server: Web, local: Path):
    for name, content in (("x.zip", pictures.zipped), ("x.tgz", pictures.tarred)):
        server.contents[name] = content(pictures.contents(local))[:-700]
        with pytest.raises(ConfigError, match=r"no whole zip|damaged"):
            images(server.url(name)).prepare(untold)


def test_too_large_for_the_cache(server: Web, local: Path, monkeypatch: pytest.MonkeyPatch, cache: Path):
    server.contents["photos.zip"] = pictures.zipped(pictures.contents(local))
    monkeypatch.setenv("GANDIST_CACHE_LIMIT", "5k")
    with pytest.raises(ConfigError) as caught:
        images(server.url("photos.zip")).prepare(untold)
    for part in ("photos.zip has 1", "kB", "GANDIST_CACHE_LIMIT=5k", "raise", "shards"):
        assert part in str(caught.value)
    assert not list(cache.glob("*/content"))
    monkeypatch.setenv("GANDIST_CACHE_LIMIT", "much")
    with pytest.raises(ConfigError, match="GANDIST_CACHE_LIMIT: 'much' is no size"):
        images(server.url("photos.zip")).prepare(untold)


def test_places_are_sent_without_what_belongs_to_a_process(server: Web, local: Path):
    server.contents["photos.zip"] = pictures.zipped(pictures.contents(local))
    place = Place(server.url("photos.zip"))
    place.sizes()
    place.fetch()
    sent = pickle.loads(pickle.dumps(place))
    assert (sent.folder, str(sent)) == (place.folder, str(place))
    assert sent.folder == Cache().path(sent.folder.parent.name)


def test_a_check_fetches_nothing_and_says_how_much_will_come(
    server: Web, local: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
):
    server.contents["photos.zip"] = pictures.zipped(pictures.contents(local) | {"notes.bin": bytes(2**20)})
    config = tmp_path / "mine.yaml"
    config.write_text(
        f"dataset: {{name: image-folder, root: '{server.url('photos.zip')}', size: 16}}\n"
        "architecture: {name: dcgan, width: 4, norm: layer}\nloss: non-saturating\ncluster: {workers: 0}\n"
    )
    assert main(["check", str(config), "--show", str(tmp_path / "batch.png")]) == 0
    assert "12 samples of 3×16×16, 2 classes; 1.1 MB to fetch to each node" in capsys.readouterr().out
    assert server.sent < 2**20
    assert not entries(cache)
