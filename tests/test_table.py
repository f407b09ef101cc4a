"""Tables: what is read, how it is encoded, who is trained on, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as parquet
import pytest
import torch
from gandist_datasets import table_reading, table_room
from gandist_datasets.table import Table

from gandist import ConfigError
from gandist.testing.datasets import check_dataset

CSV = """\
amount,kind,when,class
1.5,card,2001,0
2.5,card,2002,0
,cash,2003,0
4.5,card,2004,1
3.5,,2005,0
2.0,cheque,2006,0
1.0,card,2007,0
3.0,cash,2008,True
"""


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(CSV)
    return path


def table(path: Path, **more: Any) -> Table:
    fields = {"target": "class", "categorical": ["kind"], "leave_out": ["when"], **more}
    return Table.model_validate({"name": "table", "root": str(path), **fields})


def held(source: Any) -> dict[str, torch.Tensor]:
    unseen = source.held_out()
    return unseen.read(range(len(unseen)))


def test_normal_rows_are_split_and_anomalous_ones_held_out(csv: Path):
    source = table(csv).open()
    unseen = held(source)
    assert (len(source), len(unseen["real"])) == (3, 5)
    assert unseen["anomalous"].sum() == 2
    assert set(source.read([0])) == {"real"}
    names = [int(source.named(n)) for n in range(3)] + [int(source.held_out().named(n)) for n in range(5)]
    assert sorted(names) == list(range(8))
    other = table(csv, split_seed=1).open()
    assert other.facts.fingerprint != source.facts.fingerprint


def test_scaling_is_fitted_on_training_rows_only(csv: Path):
    source = table(csv).open()
    amounts = np.array([float(line.split(",")[0] or "nan") for line in CSV.splitlines()[1:]])
    kinds = [line.split(",")[1] for line in CSV.splitlines()[1:]]
    mine = np.array([int(source.named(n)) for n in range(len(source))])
    seen, marked = amounts[mine][~np.isnan(amounts[mine])], bool(np.isnan(amounts[mine]).any())
    known = sorted({kinds[n] for n in mine})
    numbers = [(amounts[n] - seen.mean()) / seen.std() for n in range(8)]

    def row(n: int) -> list[float]:
        amount = [0.0 if np.isnan(numbers[n]) else numbers[n]] + [float(np.isnan(numbers[n]))] * marked
        return amount + [float(kinds[n] == kind) for kind in known]

    for part in (source, source.held_out()):
        for number in range(len(part)):
            expected = torch.tensor(row(int(part.named(number))), dtype=torch.float32)
            torch.testing.assert_close(part.read([number])["real"][0], expected)


def test_parquet_and_npz_give_the_same_rows_as_csv(tmp_path: Path):
    numbers = np.random.RandomState(0).standard_normal((40, 3)) * [1, 100, 1e-3] + [0, 5, 1e6]
    target = np.arange(40) % 10 == 0
    np.savez(tmp_path / "rows.npz", X=numbers, y=target.astype(int))
    columns = {f"x{n}": numbers[:, n] for n in range(3)} | {"y": target}
    parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
    lines = [",".join([*map(repr, map(float, row)), str(bool(t))]) for row, t in zip(numbers, target, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(["x0,x1,x2,y", *lines]))
    opened = [Table(root=str(tmp_path / f"rows{end}"), target="y").open() for end in (".npz", ".parquet", ".csv")]
    assert opened[0].facts == opened[1].facts == opened[2].facts
    assert int(held(opened[0])["anomalous"].sum()) == 4
    check_dataset(Table(root=str(tmp_path / "rows.npz")))


def test_another_table_is_read_without_the_training_data(csv: Path, tmp_path: Path):
    facts = table(csv).open().facts
    own = table(csv).open()
    csv.rename(tmp_path / "moved.csv")
    again = table(csv).like(facts, str(tmp_path / "moved.csv"))
    number = int(own.named(1))
    torch.testing.assert_close(again.read([number])["real"], own.read([1])["real"])
    assert again.read(range(8))["anomalous"].tolist() == [False, False, False, True, False, False, False, True]
    (tmp_path / "new.csv").write_text("kind,amount\nbarter,3\ncard,1e30\n")
    unknown = table(csv).like(facts, str(tmp_path / "new.csv")).read([0, 1])
    assert "anomalous" not in unknown
    assert unknown["real"].isfinite().all()
    categories = facts.fitted.count("card")
    assert unknown["real"][0, -categories:].sum() == 0
    (tmp_path / "lacking.csv").write_text("kind,amonut\ncard,3\n")
    with pytest.raises(ConfigError, match=r"no column 'amount'; did you mean amonut\?"):
        table(csv).like(facts, str(tmp_path / "lacking.csv"))


def test_an_npz_of_another_width_is_refused(tmp_path: Path):
    for name, width in (("mine", 3), ("wider", 4)):
        np.savez(tmp_path / f"{name}.npz", X=np.random.RandomState(0).standard_normal((8, width)))
    mine = Table(root=str(tmp_path / "mine.npz"))
    with pytest.raises(ConfigError, match="has 4 columns of X, the run was trained on 3"):
        mine.like(mine.open().facts, str(tmp_path / "wider.npz"))


def test_rare_categories_have_no_coordinate(tmp_path: Path):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["a,b", *(f"{n % 7},{'usual' if n % 20 else f'rare{n}'}" for n in range(400))]))
    source = Table(root=str(path), categorical=("b",), most_categories=3).open()
    assert source.facts.shape == (1 + 3,)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"target": "clas"}, "no column 'clas' .dataset.target.*did you mean class"),
        ({"categorical": []}, "column 'kind' holds 'card', 'cash', 'cheque', which is no number.*dataset.categorical"),
        ({"leave_out": ["wehn"]}, r"no column 'wehn' .dataset.leave_out.*did you mean when"),
        ({"normal": "fine"}, "no row is normal: column 'class' has '0', '1', 'True', and never 'fine'"),
        ({"leave_out": ["when", "amount", "kind"]}, "no column to learn from"),
        ({"train": 0.1}, "too few to train on"),
    ],
)
def test_bad_tables_are_refused(csv: Path, fields: dict[str, Any], says: str):
    with pytest.raises(ConfigError, match=says):
        table(csv, **fields).open()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.csv", b"a,b\n1,2,3\n", "cannot be read as csv"),
        ("rows.csv", b"", "cannot be read as csv"),
        ("rows.parquet", b"PAR1 and no more", "cannot be read as parquet"),
        ("rows.npz", b"PK no zip", "cannot be read as npz"),
        ("rows.xlsx", b"PK", "convert it to .csv"),
        ("rows.cvs", None, r"there is no table .*rows.cvs"),
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, name: str, content: bytes | None, says: str):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=says) as raised:
        Table(root=str(tmp_path / name)).open()
    assert str(raised.value).startswith("dataset.root: ")


def test_an_npz_without_rows_and_columns_is_refused(tmp_path: Path):
    np.savez(tmp_path / "rows.npz", X=np.zeros(4))
    with pytest.raises(ConfigError, match="X should have rows and columns"):
        Table(root=str(tmp_path / "rows.npz")).open()
    np.savez(tmp_path / "rows.npz", Z=np.zeros((4, 2)))
    with pytest.raises(ConfigError, match="has no array X, only Z"):
        Table(root=str(tmp_path / "rows.npz")).open()


def test_an_npz_that_lies_column_by_column_is_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = np.random.RandomState(0).standard_normal((25, 3))
    monkeypatch.setattr(table_reading, "ROWS", 7)
    read = []
    for name, array in (("rows", rows), ("columns", np.asfortranarray(rows)), ("single", rows.astype(np.float32))):
        np.savez(tmp_path / f"{name}.npz", X=array, y=np.arange(25) % 5 == 0)
        read.append(Table(root=str(tmp_path / f"{name}.npz")).open())
    assert read[0].facts == read[1].facts
    for part in (read[1], read[2]):
        torch.testing.assert_close(held(part), held(read[0]), rtol=1e-5, atol=1e-5)
    np.savez(tmp_path / "short.npz", X=rows, y=np.arange(24))
    with pytest.raises(ConfigError, match=r"y has shape \(24,\), X has 25 rows"):
        Table(root=str(tmp_path / "short.npz")).open()
    np.savez(tmp_path / "words.npz", X=np.array([["a", "b"]] * 9))
    with pytest.raises(ConfigError, match="X holds <U1, should hold numbers"):
        Table(root=str(tmp_path / "words.npz")).open()


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
def test_a_table_that_would_not_fit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
):
    numbers = np.random.RandomState(0).standard_normal((2000, 4))
    columns = pa.table({f"x{n}": numbers[:, n] for n in range(4)})
    path = tmp_path / f"rows.{ending}"
    if ending == "npz":
        np.savez(path, X=numbers)
    elif ending == "csv":
        pyarrow.csv.write_csv(columns, path)
    else:
        parquet.write_table(columns, path)
    assert len(Table(root=str(path)).open()) == 1000
    monkeypatch.setattr(table_room, "free_memory", lambda: 100_000)

    def never(*_: object) -> None:
        raise AssertionError("a row was read")

    monkeypatch.setattr(table_reading.TableFile, "pieces", never)
    with pytest.raises(
        ConfigError, match=r"GiB of memory to train on, and 0\.0 GiB are free; train on some of its rows"
    ):
        Table(root=str(path)).open()


def test_free_memory_is_what_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "meminfo").write_text("MemTotal:  100 kB\nMemAvailable:     42 kB\n")
    for name, expected in (("meminfo", 42 * 1024), ("nowhere", None)):
        monkeypatch.setattr(table_room, "MEMORY", tmp_path / name)
        assert table_room.free_memory() == expected
