"""Data sets of whose labels training sees a few: balanced, seeded, and no others are ever seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from gandist_architectures.semi_supervised_mlp import SemiSupervisedMlp
from gandist_datasets.arrays import Arrays
from gandist_datasets.digits import Digits
from gandist_datasets.idx import Idx
from gandist_datasets.image_folder import ImageFolder
from gandist_datasets.labelling import PartlyLabelled
from gandist_datasets.presets import FashionMnist
from gandist_losses.semi_supervised import SemiSupervised
from PIL import Image

from gandist import ConfigError, Dataset, Source
from gandist.contract.turn import Span
from gandist.testing import check_dataset
from gandist.testing.trial import Trial, difference, play
from gandist.training.batches import Batches

CPU = torch.device("cpu")


def rows_of(source: Source) -> dict[str, torch.Tensor]:
    return source.read(range(len(source)))


def same_images(one: torch.Tensor, other: torch.Tensor) -> int:
    """How many images are in both."""
    return len({row.numpy().tobytes() for row in one} & {row.numpy().tobytes() for row in other})


def test_the_labelled_ones_are_balanced_and_seeded():
    first, again, other = (Digits(labelled=50, labelled_seed=seed).open() for seed in (0, 0, 1))
    few = rows_of(first.streams()["labelled"])
    assert few.keys() == {"labelled", "labelled_classes"}
    assert torch.bincount(few["labelled_classes"]).tolist() == [5] * 10
    assert torch.equal(few["labelled"], rows_of(again.streams()["labelled"])["labelled"])
    assert first.facts == again.facts
    assert same_images(few["labelled"], rows_of(other.streams()["labelled"])["labelled"]) < 10
    assert first.facts.fingerprint != other.facts.fingerprint


def test_training_reads_all_samples_without_labels():
    source = Digits(labelled=50).open()
    whole = source.streams()[""]
    assert len(whole) == len(source) == 1437
    assert rows_of(whole).keys() == {"real"}
    # Scores know the labels.
    assert torch.equal(rows_of(source)["labels"], rows_of(Digits(split="train").open())["labels"])


def test_what_is_held_out_is_not_in_training():
    source = Digits(labelled=50).open()
    held = source.held_out()
    assert held is not None
    assert len(held) == 360
    test = rows_of(Digits(split="test").open())
    assert torch.equal(rows_of(held)["real"], test["real"])
    assert torch.equal(rows_of(held)["labels"], test["labels"])
    plain = Digits(split="train").open().held_out()
    assert plain is not None
    assert len(plain) == 360
    assert Digits().open().held_out() is None
    assert Digits(split="test").open().held_out() is None


def test_without_test_files_a_fifth_of_each_class_is_held_out(tmp_path: Path):
    folder(tmp_path, {"cat": 10, "dog": 15, "owl": 23})
    sources = [
        ImageFolder(root=str(tmp_path), size=8, labelled=6, labelled_seed=seed, loaders=0).open() for seed in (0, 1)
    ]
    held = [source.held_out() for source in sources]
    assert held[0] is not None
    assert held[1] is not None
    assert torch.bincount(rows_of(held[0])["labels"]).tolist() == [2, 3, 4]
    assert len(sources[0]) == 48 - 9
    assert same_images(rows_of(held[0])["real"], rows_of(sources[0])["real"]) == 0
    # The choice of labels does not move it.
    assert torch.equal(rows_of(held[0])["real"], rows_of(held[1])["real"])
    assert sources[0].slow
    assert ImageFolder(root=str(tmp_path), size=8).open().held_out() is None


def test_more_images_without_labels(tmp_path: Path):
    folder(tmp_path / "sorted", {"cat": 10, "dog": 15})
    folder(tmp_path / "rest", {"any": 7}, seed=1)
    fields = {"root": str(tmp_path / "sorted"), "unlabelled": str(tmp_path / "rest"), "size": 8, "loaders": 0}
    source = ImageFolder(**fields).open()
    whole, few, held = source.streams()[""], source.streams()["labelled"], source.held_out()
    assert held is not None
    assert (len(whole), len(few), len(held)) == (20 + 7, 20, 5)
    assert same_images(rows_of(whole)["real"], rows_of(few)["labelled"]) == 20
    alone = rows_of(ImageFolder(root=str(tmp_path / "rest"), size=8, loaders=0).open())["real"]
    assert same_images(rows_of(whole)["real"], alone) == 7
    assert same_images(rows_of(whole)["real"], rows_of(held)["real"]) == 0
    assert len(ImageFolder(**fields, labelled=4).open().streams()["labelled"]) == 4
    check_dataset(ImageFolder(**fields))
    with pytest.raises(ConfigError, match=r"dataset\.unlabelled: is set, but the samples have no labels"):
        ImageFolder(root=str(tmp_path / "rest"), unlabelled=str(tmp_path / "sorted"), size=8).open()


def test_the_published_test_files_are_held_out(data_folder: Path):
    source = FashionMnist(root=str(data_folder / "fashion-mnist"), labelled=1000).open()
    held = source.held_out()
    assert held is not None
    assert (len(source), len(held), len(source.streams()["labelled"])) == (60_000, 10_000, 1000)
    plain = Idx(root=str(data_folder / "fashion-mnist")).open().held_out()
    assert plain is not None
    assert plain.facts.fingerprint == held.facts.fingerprint


@pytest.mark.parametrize("dataset", [Digits(labelled=50), Digits(split="test", labelled=20)])
def test_the_contract(dataset: Dataset):
    check_dataset(dataset)


def test_any_number_of_workers_reads_the_same_rows():
    source = Digits(labelled=50).open()

    def read(spans: Sequence[Span]) -> Mapping[str, torch.Tensor]:
        parts = [Batches(source, 3, span, 0, CPU).take(9) for span in spans]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    whole, split = read([Span(0, 16, 16)]), read([Span(0, 6, 16), Span(6, 16, 16)])
    assert whole.keys() == {"real", "labelled", "labelled_classes"}
    assert all(torch.equal(whole[name], split[name]) for name in whole)
    # Four batches of 16 show each of 50 labelled samples at least once.
    seen = torch.cat([Batches(source, 3, Span(0, 16, 16), 0, CPU).take(number)["labelled"] for number in range(4)])
    assert same_images(seen, rows_of(source.streams()["labelled"])["labelled"]) == 50


class Shuffled(Dataset):
    """Small random images of three classes; all labels but those of the labelled ones are shuffled by `seed`."""

    name: ClassVar[str] = "test-shuffled"
    seed: int = 0

    def open(self) -> Source:
        """With nine labelled samples."""
        generator = np.random.RandomState(5)
        images, labels = generator.randint(0, 256, (40, 1, 4, 4)).astype(np.uint8), np.arange(40) % 3
        chosen = np.arange(9)
        labels[9:] = np.random.RandomState(self.seed).permutation(labels[9:])
        every = torch.arange(40)
        return PartlyLabelled(Arrays(images, labels, 3), every, torch.from_numpy(chosen), None)


def test_other_labels_change_nothing():
    players = SemiSupervisedMlp(width=40, generator_width=12, latent=5)
    one, other = (play(Trial(SemiSupervised(), players, Shuffled(seed=seed))) for seed in (1, 2))
    assert difference(one, other)[0] == 0
    labels = [Shuffled(seed=seed).open().read(range(40))["labels"] for seed in (1, 2)]
    assert not torch.equal(*labels)


def folder(root: Path, counts: dict[str, int], seed: int = 0) -> None:
    pixels = np.random.RandomState(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(pixels.randint(0, 256, (8, 8, 3), np.uint8)).save(root / name / f"{number}.png")


def idx(root: Path, labels: list[int] | None) -> dict[str, Any]:
    count = len(labels or range(12))
    header = b"\0\0\x08\x03" + b"".join(size.to_bytes(4, "big") for size in (count, 8, 8))
    (root / "images").write_bytes(header + np.random.RandomState(0).bytes(count * 64))
    if labels is None:
        return {"images": "images"}
    (root / "labels").write_bytes(b"\0\0\x08\x01" + count.to_bytes(4, "big") + bytes(labels))
    return {"images": "images", "labels": "labels"}


@pytest.mark.parametrize(
    ("labels", "count", "said"),
    [
        (
            None,
            4,
            "dataset.labelled: is set, but the samples have no labels; sort the images of dataset.root into a folder",
        ),
        ([0] * 12, 4, "there is one class only"),
        ([0, 1, 2] * 4, 4, "should be a multiple of the 3 classes, is 4; set it to 3"),
        ([0, 2] * 6, 3, "class 1 has no sample"),
        ([0, 1, 2] * 4, 15, "15 are 5 of each class, but class 0 has 4 for training; set it to at most 12"),
    ],
)
def test_labels_that_cannot_be_chosen(tmp_path: Path, labels: list[int] | None, count: int, said: str):
    with pytest.raises(ConfigError) as error:
        Idx(root=str(tmp_path), labelled=count, **idx(tmp_path, labels)).open()
    assert said in str(error.value)
    assert str(error.value).startswith("dataset.labelled: ")


def test_a_folder_without_classes(tmp_path: Path):
    folder(tmp_path, {"all": 4})
    with pytest.raises(ConfigError, match="the samples have no labels"):
        ImageFolder(root=str(tmp_path), labelled=2).open()


def test_missing_test_files_are_named(tmp_path: Path):
    files = idx(tmp_path, [0, 1, 2] * 4)
    for kind, file in zip(("images-idx3", "labels-idx1"), files, strict=True):
        (tmp_path / file).rename(tmp_path / f"train-{kind}-ubyte")
    source = Idx(root=str(tmp_path), labelled=6).open()
    with pytest.raises(ConfigError, match="there is no t10k-images-idx3-ubyte"):
        source.held_out()
