"""Shards: written, read map-style by any number of workers, foreign ones indexed, damaged ones refused."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pictures
import processes
import pytest
import torch
from buckets import Bucket, bucket
from gandist_datasets.image_folder import ImageFolder
from gandist_datasets.packing import index_tars, pack_folder
from gandist_datasets.shard_index import INDEX, ShardIndex, read_index
from gandist_datasets.shards import ShardedImages, Shards
from PIL import Image
from ranks import start, train_on_ranks
from small_runs import on_ranks
from web import Web, web

from gandist import ConfigError
from gandist.cli import main
from gandist.contract.turn import Span
from gandist.testing import check_dataset
from gandist.training.batches import Batches

SMALL = 8_000
"""Bytes of a shard of about five samples."""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures.folder(tmp_path_factory.mktemp("pictures"), classes=3, each=7)


@pytest.fixture(scope="module")
def packed(local: Path) -> Path:
    out = local.parent / "packed"
    pack_folder(str(local), str(out), shard_size=SMALL)
    return out


@pytest.fixture(scope="module")
def s3() -> Iterator[Bucket]:
    with bucket() as running:
        yield running


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as running:
        yield running


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANDIST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "copy"))


def opened(root: str | Path, **fields: Any) -> ShardedImages:
    source = Shards(root=str(root), **{"size": 8, **fields}).open()
    assert isinstance(source, ShardedImages)
    return source


def everything(source: Any) -> dict[str, torch.Tensor]:
    return source.read(range(len(source)))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_shards_hold_what_the_folder_holds(local: Path, packed: Path):
    source, folder = opened(packed), ImageFolder(root=str(local), size=8).open()
    assert len(source.index.shards) > 3
    assert same(everything(source), everything(folder))
    assert (source.facts.class_names, source.facts.shape) == (folder.facts.class_names, folder.facts.shape)
    assert source.index.sizes == {"smallest": [12, 12], "largest": [14, 12]}


def test_shards_pass_the_contract(packed: Path):
    check_dataset(Shards(root=str(packed), size=8))


def test_webdataset_reads_them(local: Path, packed: Path):
    """Its rule: neighbours with one name up to the first dot are a sample, and the rest of the name is its field."""
    samples: list[dict[str, bytes]] = []
    before = None
    for path in sorted(packed.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                key, _, suffix = member.name.partition(".")
                if key != before:
                    samples.append({})
                    before = key
                samples[-1][suffix] = archive.extractfile(member).read()  # type: ignore[union-attr]
    files = pictures.contents(local)
    assert [next(content for suffix, content in s.items() if suffix != "cls") for s in samples] == list(files.values())
    assert [int(sample["cls"]) for sample in samples] == [int(name[6]) for name in files]


def test_the_same_images_give_the_same_bytes(local: Path, packed: Path, tmp_path: Path):
    pack_folder(str(local), str(tmp_path / "packed"), shard_size=SMALL)
    assert pictures.contents(tmp_path / "packed") == pictures.contents(packed)


def test_images_without_classes(local: Path, tmp_path: Path):
    result = pack_folder(str(local / "class-0"), str(tmp_path / "out"))
    assert (result["classes"], result["shards"], result["samples"]) == (0, 1, 7)
    assert list(opened(tmp_path / "out").read([0])) == ["real"]


def test_unreadable_images_are_named_and_left_out(local: Path, tmp_path: Path):
    folder = shutil.copytree(local, tmp_path / "folder")
    (folder / "class-1" / "002.jpg").write_text("no image")
    result = pack_folder(str(folder), str(tmp_path / "out"), broken_limit=1)
    assert result["samples"] == 20
    assert result["left_out"] == ["class-1/002.jpg (cannot identify image file)"]
    assert torch.bincount(everything(opened(tmp_path / "out"))["labels"]).tolist() == [7, 6, 7]
    (folder / "class-1" / "003.png").write_bytes((folder / "class-1" / "003.png").read_bytes()[:200])
    with pytest.raises(
        ConfigError, match=r"more than 1 images cannot be read:\n  class-1/002\.jpg .*\n  class-1/003\.png"
    ):
        pack_folder(str(folder), str(tmp_path / "other"), broken_limit=1)
    assert not (tmp_path / "other").exists()


def test_the_command(local: Path, tmp_path: Path):
    done = processes.run("pack", str(local), "out", "--shard-size", "8k", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["samples"], said["classes"], said["left_out"]) == (21, 3, [])
    with pytest.raises(ConfigError, match=r"out is not empty: it holds index\.npz, out-000000\.tar"):
        pack_folder(str(local), str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{local}"], "needs OUT"),
        (["{local}", "out", "--index"], "takes no OUT"),
        (["nowhere", "out"], "FOLDER: there is no folder"),
        (["{local}", "out", "--shard-size", "big"], "--shard-size 'big' is no size"),
        (["{local}", "https://host/out"], "cannot be written; give a folder or a bucket"),
        (["{local}", "https://me:word@host/out"], "OUT: the URL holds credentials"),
    ],
)
def test_mistakes(
    local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, arguments: list[str], said: str
):
    monkeypatch.chdir(tmp_path)
    assert main(["pack", *(argument.format(local=local) for argument in arguments)]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def _epoch(rank: int, world: int, root: str, batch: int, start: int, steps: int, loaders: int) -> list[torch.Tensor]:
    """The rows that one of `world` real ranks reads."""
    first, stop = rank * batch // world, (rank + 1) * batch // world
    batches = Batches(opened(root), 3, Span(first, stop, batch), loaders, torch.device("cpu"))
    rows = [batches.take(number)["real"] for number in range(start, start + steps)]
    batches.close()
    return rows


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_number_of_workers_sees_each_sample_once_an_epoch_in_one_order(packed: Path, local: Path, world: int):
    batch, steps = 7, 3
    if world == 1:
        ranks = [_epoch(0, 1, str(packed), batch, 0, steps, loaders=1)]
    else:
        ranks = on_ranks(world, _epoch, str(packed), batch, 0, steps, 0)
    seen = torch.cat([torch.cat([rows[step] for rows in ranks]) for step in range(steps)])
    folder = ImageFolder(root=str(local), size=8).open()
    plain = Batches(folder, 3, Span(0, batch, batch), 0, torch.device("cpu"))
    assert torch.equal(seen, torch.cat([plain.take(step)["real"] for step in range(steps)]))
    # Every picture is noise of its own, so that a sample that came twice would be found.
    assert len({row.numpy().tobytes() for row in seen}) == len(folder) == batch * steps
    # In the middle of the epoch somebody else goes on, with the very same.
    assert torch.equal(torch.cat(_epoch(0, 1, str(packed), batch, 1, 2, loaders=0)), seen[batch:])


def training(dataset: dict[str, Any]) -> dict[str, Any]:
    """Ten steps of 8 of the 21 pictures, saved every third step: epochs end and runs are killed within a batch."""
    return {
        "run": {"name": "shards"},
        "dataset": {"size": 16, "loaders": 1, **dataset},
        "architecture": {"name": "dcgan", "width": 4, "latent": 8, "norm": "layer"},
        "loss": "non-saturating",
        "train": {"images": 80, "batch_size": 8, "log_every": 1, "save_every": 3, "sample_every": 0, "keep": 10},
    }


def gone(session: int, seconds: float = 60) -> bool:
    """Whether every process of the session ends by itself."""
    deadline = time.monotonic() + seconds
    while _of_session(session):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _of_session(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # After the name, in parentheses: state, parent, group, session.
                state, _, _, own = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(own) == session and state != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.slow
@pytest.mark.arithmetic
@pytest.mark.parametrize("world", [1, 2])
def test_a_killed_run_on_shards_ends_with_the_weights_of_one_on_the_folder(
    packed: Path, local: Path, tmp_path: Path, world: int
):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    plain = training({"name": "image-folder", "root": str(local)})
    train_on_ranks(world, [{"config": plain, "folder": str(straight)}])
    sharded = training({"name": "shards", "root": str(packed)})
    process = start(world, {"config": sharded, "folder": str(killed), "die_at": 5}, tmp_path)
    assert process.wait(timeout=120) != 0
    assert gone(process.pid), "loader processes outlive the rank that read from them"
    # Step 3 is in the middle of the second epoch.
    assert (killed / "checkpoints" / "step-00000003").is_dir()
    assert not (killed / "generator.safetensors").exists()
    train_on_ranks(world, [{"config": sharded, "folder": str(killed)}])
    made = [(folder / "generator.safetensors").read_bytes() for folder in (straight, killed)]
    assert made[0] == made[1]


def upload(s3: Bucket, packed: Path, name: str) -> str:
    for file, content in pictures.contents(packed).items():
        s3.write(f"{name}/{file}", content)
    return s3.url(name)


def read_on(source: ShardedImages) -> None:
    source.prepare(untold)
    for _ in range(1000):
        everything(source)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kept(cache: Path) -> int:
    return len(list(cache.glob("*/content")))


def untold(text: str) -> None:
    """Not told."""


def fill_cache(source: ShardedImages, cache: Path, most: int) -> None:
    """Reads until so many shards are kept, as a rank does."""
    source.prepare(untold)
    numbers = iter(range(10**6))

    def one_more() -> bool:
        source.read([next(numbers) * 5 % len(source)])
        return kept(cache) >= most

    wait_for(one_more)


def test_shards_in_a_bucket_are_read_at_once_and_kept(s3: Bucket, packed: Path, cache: Path):
    root = upload(s3, packed, "kept")
    source = opened(root)
    assert source.elsewhere == sum(shard.size for shard in source.index.shards)
    assert same(everything(source), everything(opened(packed)))
    assert not list(cache.glob("packed*")), "a check fetches no shard"
    fill_cache(source, cache, len(source.index.shards))
    for file in pictures.contents(packed):
        if file != INDEX:
            s3.delete(f"kept/{file}")
    assert same(everything(source), everything(opened(packed)))
    assert same(everything(pickle.loads(pickle.dumps(source))), everything(opened(packed)))


def test_a_set_larger_than_the_cache_is_read(s3: Bucket, packed: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    root = upload(s3, packed, "large")
    sizes = sorted(shard.size for shard in opened(packed).index.shards)
    monkeypatch.setenv("GANDIST_CACHE_LIMIT", str(sizes[-1] * 2 + 1))
    source = opened(root)
    fill_cache(source, cache, 2)
    for _ in range(3):
        assert same(everything(source), everything(opened(packed)))
    assert kept(cache) <= 2 + (sizes[0] * 3 < sizes[-1] * 2)
    assert sum(path.stat().st_size for path in cache.glob("*/content")) <= sizes[-1] * 2 + 1


def test_a_server_without_ranges_gives_whole_shards(server: Web, packed: Path, cache: Path):
    server.ranges = False
    server.contents = {f"set/{name}": content for name, content in pictures.contents(packed).items()}
    source = opened(server.url("set"))
    assert same(everything(source), everything(opened(packed)))
    assert kept(cache) == len(source.index.shards)
    assert all(len(server.gets(f"set/{shard.name}")) <= 17 for shard in source.index.shards)


def test_a_shard_of_another_content_in_a_bucket_is_refused(s3: Bucket, packed: Path):
    root = upload(s3, packed, "other")
    source = opened(root)
    name = source.index.shards[1].name
    content = bytearray((packed / name).read_bytes())
    content[int(source.index.start[source.index.shard == 1][0]) + 30] ^= 1
    s3.write(f"other/{name}", bytes(content))
    with pytest.raises(ConfigError, match=rf"{name} at byte \d+ of s3://bucket/other is not what was packed"):
        everything(opened(root, broken_limit=21))
    # The same bytes, but for the end of a header: only the whole shard's sum can tell.
    content = bytearray((packed / name).read_bytes())
    content[108] ^= 1
    s3.write(f"other/{name}", bytes(content))
    source = opened(root)
    with pytest.raises(ConfigError, match=rf"{name} came with the SHA-256 .* damaged, or was changed"):
        read_on(source)


def test_packing_into_a_bucket(s3: Bucket, local: Path, packed: Path):
    pack_folder(str(local), s3.url("made/packed"), shard_size=SMALL)
    assert {name: s3.read(f"made/packed/{name}") for name in s3.names("made/packed")} == pictures.contents(packed)
    with pytest.raises(ConfigError, match="is not empty"):
        pack_folder(str(local), s3.url("made/packed"))


def test_packing_what_lies_in_a_bucket(s3: Bucket, local: Path, packed: Path, tmp_path: Path):
    for name, content in pictures.contents(local).items():
        s3.write(f"folder/{name}", content)
    pack_folder(s3.url("folder"), str(tmp_path / "packed"), shard_size=SMALL)
    assert pictures.contents(tmp_path / "packed") == pictures.contents(packed)


def foreign(path: Path, members: dict[str, bytes], **kinds: bytes) -> Path:
    """A tar of somebody else's tool."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.type = len(content), 1.5, kinds.get(name, tarfile.REGTYPE)  # type: ignore[assignment]
            archive.addfile(member, io.BytesIO(content))
    return path.parent


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def test_foreign_tars_get_an_index(tmp_path: Path):
    for number in range(2):
        members = {}
        for sample in range(3):
            value = 10 * number + sample
            key = f"deep/{value:03}"
            members |= {f"{key}.json": b"{}", f"{key}.png": png(value), f"{key}.cls": b"%d" % sample}
        folder = foreign(tmp_path / "set" / f"{number}.tar", members)
    before = pictures.contents(tmp_path / "set")
    assert main(["pack", str(folder), "--index"]) == 0
    rows = everything(opened(folder))
    assert rows["real"][:, 0, 4, 4].tolist() == [0, 1, 2, 10, 11, 12]
    assert rows["labels"].tolist() == [0, 1, 2] * 2
    assert {name: c for name, c in pictures.contents(folder).items() if name != INDEX} == before
    with pytest.raises(ConfigError, match="delete it to write another"):
        index_tars(str(folder))


def test_foreign_tars_in_a_bucket(s3: Bucket, tmp_path: Path):
    foreign(tmp_path / "a.tar", {"a.png": png(1), "b.png": png(2)})
    s3.write("foreign/a.tar", (tmp_path / "a.tar").read_bytes())
    index_tars(s3.url("foreign"))
    assert everything(opened(s3.url("foreign")))["real"][:, 0, 4, 4].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("members", "kinds", "said"),
    [
        ({"../a.png": png(1), "b.png": png(2)}, {}, r"holds '\.\./a\.png', which leads out"),
        ({"/a.png": png(1), "b.png": png(2)}, {}, "leads out"),
        ({"a.png": b"", "b.png": png(2)}, {"a.png": tarfile.SYMTYPE}, "no plain file but a link"),
        ({"a.png": png(1), "a.jpg": png(1)}, {}, "the sample a has two images"),
        ({"a.png": png(1), "a.cls": b"cat", "b.png": png(2)}, {}, "a label is a whole number"),
        ({"a.png": png(1), "a.cls": b"0", "b.png": png(2)}, {}, "1 of 2 samples have a label"),
        ({"a.png": png(1), "b.png": b"no image"}, {}, "b in x.tar"),
        ({"a.txt": b"text"}, {}, "hold 0 images"),
    ],
)
def test_foreign_tars_that_are_refused(tmp_path: Path, members: dict[str, bytes], kinds: dict[str, bytes], said: str):
    folder = foreign(tmp_path / "set" / "x.tar", members, **kinds)
    with pytest.raises(ConfigError, match=said):
        index_tars(str(folder))
    assert not (folder / INDEX).exists()


def test_compressed_tars_are_refused(tmp_path: Path):
    (tmp_path / "a.tar.gz").write_bytes(pictures.tarred({"a.png": png(1)}))
    with pytest.raises(ConfigError, match=r"a\.tar\.gz is compressed"):
        index_tars(str(tmp_path))
    (tmp_path / "a.tar.gz").rename(tmp_path / "a.tar")
    with pytest.raises(ConfigError, match="no whole, uncompressed tar"):
        index_tars(str(tmp_path))


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Writes the index anew, with what a stranger would put into it."""
    with np.load(folder / INDEX) as file:
        arrays = dict(file)
    about = json.loads(arrays["about"].tobytes())
    change(arrays | {"json": about})
    entries = {"json": about, **arrays}
    change(entries)
    about = entries.pop("json")
    entries["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(folder / INDEX, **entries)


def set_entry(name: str, number: int, value: int) -> Callable[[dict[str, Any]], None]:
    def change(entries: dict[str, Any]) -> None:
        entries[name] = entries[name].copy()
        entries[name][number] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: e["json"]["shards"][0].__setitem__(0, "../secret.tar"), "would lead out"),
        (lambda e: e["json"]["shards"][0].__setitem__(0, "/etc/passwd"), "would lead out"),
        (lambda e: e["json"]["shards"][0].__setitem__(2, "none"), "has no SHA-256"),
        (lambda e: e["json"].update(format="other"), "not of the format"),
        (lambda e: e["json"].update(classes=2), "labels 0 to 2 of 2 classes"),
        (lambda e: e.update(json=[]), "not of the format"),
        (set_entry("start", 3, 10**15), "lies outside of its shard"),
        (set_entry("start", 3, 2**63 - 1), "lies outside of its shard"),
        (set_entry("start", 3, -1), "lies outside of its shard"),
        (set_entry("length", 3, 10**9), "lies outside of its shard"),
        (set_entry("shard", 3, 77), "lies in shard 77 of"),
        (set_entry("label", 3, -1), "labels -1"),
        (lambda e: e.update(crc=e["crc"][:-1]), "differ in length"),
        (lambda e: e.update(start=e["start"].astype(object)), "allow_pickle|Object arrays"),
        (lambda e: e.update(start=e["start"].astype(float)), "start is float64"),
        (lambda e: e.pop("start"), "start"),
    ],
)
def test_an_index_with_bad_intentions_is_refused(copy: Path, change: Callable[[dict[str, Any]], None], said: str):
    changed(copy, change)
    with pytest.raises(ConfigError, match=rf"index\.npz is no index of shards: .*({said})"):
        opened(copy)


def test_an_index_that_is_packed_or_cut_is_refused(copy: Path):
    with np.load(copy / INDEX) as file:
        np.savez_compressed(copy / INDEX, **dict(file))
    with pytest.raises(ConfigError, match="compressed data"):
        opened(copy)
    (copy / INDEX).write_bytes((copy / INDEX).read_bytes()[:-100])
    with pytest.raises(ConfigError, match="is no index of shards"):
        opened(copy)
    (copy / INDEX).unlink()
    with pytest.raises(ConfigError, match=r"there is no index\.npz in .*gandist pack FOLDER OUT"):
        opened(copy)


def test_damaged_shards_are_named(copy: Path):
    shards = sorted(copy.glob("*.tar"))
    content = bytearray(shards[0].read_bytes())
    content[600] ^= 1
    shards[0].write_bytes(content)
    with pytest.raises(ConfigError, match=rf"sample 0 in {shards[0].name} at byte 512 of .* is not what was packed"):
        opened(copy)
    shards[1].write_bytes(shards[1].read_bytes()[:-1000])
    with pytest.raises(ConfigError, match=rf"{shards[1].name} has .* bytes instead of"):
        opened(copy)
    shards[1].unlink()
    with pytest.raises(ConfigError, match=rf"{shards[1].name} is missing"):
        opened(copy)


def test_a_shard_that_is_cut_while_it_is_read(copy: Path):
    source = opened(copy)
    path = copy / source.index.shards[-1].name
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ConfigError, match="is cut short"):
        source.read([len(source) - 1])


def test_the_index_is_read_back_as_it_was(packed: Path):
    index = read_index((packed / INDEX).read_bytes(), "x")
    assert isinstance(index, ShardIndex)
    assert read_index(index.to_bytes(), "x").fingerprint == index.fingerprint
