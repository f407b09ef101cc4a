"""The report page: what it says of real, unfinished and damaged runs, and how it behaves in a browser."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from browser import browser, opened
from PIL import Image

import gandist
from gandist.cli import main
from gandist.tracking.report import page as pages
from gandist.tracking.report.curves import MOST_POINTS, charts, place, thinned
from gandist.tracking.report.page import MOST_BYTES, write_report
from gandist.tracking.report.pictures import spread
from gandist.tracking.report.reading import read_run
from gandist.tracking.report.tables import scores

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that were really trained: `pictures`, 12 steps on digits, and `points`, 20 on the ring."""
    folder = tmp_path_factory.mktemp("report")
    quiet = {"console": {"enabled": False}}
    common = {"loss": "non-saturating", "cluster": {"workers": 0, "storage": str(folder)}, "tracking": quiet}
    shared = {"log_every": 1, "save_every": 0, "batch_size": 8}
    gandist.train(
        {
            "run": {"name": "pictures"},
            "dataset": "digits",
            "architecture": "mlp-conv",
            "train": {"images": 96, "sample_every": 3, **shared},
            "evaluate": {"every": 0},
            **common,
        }
    )
    gandist.train(
        {
            "run": {"name": "points"},
            "dataset": "gaussians",
            "architecture": {"name": "mlp", "width": 16},
            "train": {"images": 160, "sample_every": 10, **shared},
            "evaluate": {"every": 10, "metrics": ["modes"], "count": 100},
            **common,
        }
    )
    return folder


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> Path:
    """A copy of the run with pictures, to change."""
    return Path(shutil.copytree(runs / "pictures", tmp_path / "pictures"))


def written(*folders: Path, out: Path | None = None) -> tuple[str, dict[str, Any]]:
    told = write_report([str(folder) for folder in folders], out)
    return Path(told["report"]).read_text(encoding="utf-8"), told


def embedded(text: str) -> dict[str, Any]:
    """What the page's script draws."""
    return json.loads(text.partition('id="data">')[2].partition("</script>")[0])


def log(folder: Path, **values: Any) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(values) + "\n")


def test_a_page_tells_what_was_trained_and_how(run: Path):
    text, told = written(run)
    assert told["report"] == str(run / "report.html")
    assert (told["runs"], told["pictures"], told["notes"]) == (["pictures"], 4, [])
    for said in ("digits", "mlp-conv", "non-saturating", "finished: 96 images in 12 steps", "1,797 samples"):
        assert said in text
    assert f"torch {importlib.metadata.version('torch').partition('+')[0]}" in text
    assert f"gandist train {run}/config.yaml run.name=pictures-again" in text


def test_every_logged_value_has_its_curve(runs: Path):
    for name in ("pictures", "points"):
        account = read_run(runs / name)
        logged = {key for row in account.rows for key in row}
        assert [key for key in logged - {"step", "images"} if place(key, logged) is None] == []
        lines = [line for chart in charts([account]) for line in chart.lines]
        assert len(lines) == len(logged) - 2
    assert any(chart.title == "modes hit" for chart in charts([read_run(runs / "points")]))


def test_curves_hold_what_was_logged(run: Path):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    data = embedded(written(run)[0])
    (losses,) = [chart for chart in data["charts"] if chart["title"] == "Total losses"]
    for line in losses["lines"]:
        assert line["x"] == [row["images"] for row in rows]
        assert line["y"] == pytest.approx([row[f"loss/{line['label']}/total"] for row in rows], rel=1e-4)


def test_a_score_stands_beside_real_data_and_its_error(run: Path):
    text, _ = written(run)
    assert "Scores of the last evaluation" not in text
    for step, frechet in ((11, 20.0), (12, 12.5)):
        named = {"evaluation/frechet": frechet, "evaluation/frechet_real": 1.75, "evaluation/frechet_error": 0.25}
        log(run, step=step, images=8 * step, **named, **{"evaluation/class_share/3": 0.1})
    account = read_run(run)
    assert list(scores(account)) == ["frechet"]
    assert (scores(account)["frechet"].value, scores(account)["frechet"].error) == ("12.5", "0.25")
    assert scores(account)["frechet"].real == "1.75"
    text, _ = written(run)
    assert '12.5 <span class="quiet">±&nbsp;0.25</span>' in text
    (chart,) = [chart for chart in embedded(text)["charts"] if chart["title"] == "frechet"]
    assert [(line["label"], line["error"]) for line in chart["lines"]] == [
        ("samples", [0.25, 0.25]),
        ("real data", None),
    ]


def test_every_kind_of_value_has_its_place():
    known = {"evaluation/kid", "evaluation/kid_real", "evaluation/kid_error", "evaluation/share/3", "health/diversity"}
    found = {key: place(key, known) for key in [*known, "accuracy/real", "mine", "mine/a/b", "lr/generator", "images"]}
    assert {key for key, one in found.items() if one is None} == {"evaluation/kid_error", "images"}
    placed = {key: (one.section, one.title, one.line) for key, one in found.items() if one is not None}
    assert placed["evaluation/kid"] == ("metrics", "kid", "samples")
    assert placed["evaluation/kid_real"] == ("metrics", "kid", "real data")
    assert placed["evaluation/share/3"] == ("metrics", "share", "3")
    assert placed["health/diversity"] == ("health", "diversity", "samples")
    assert placed["accuracy/real"] == ("outputs", "Accuracy", "real")
    assert placed["mine/a/b"] == ("other", "mine/a", "b")
    assert placed["mine"][0] == "other"


def test_long_curves_keep_their_extremes_and_gaps():
    values: list[float | None] = [float(np.sin(index / 900)) for index in range(50_000)]
    values[20_001], values[30_002], values[40_003] = 9.0, -9.0, None
    kept = thinned(values)
    assert len(kept) <= MOST_POINTS
    assert kept == sorted(set(kept))
    assert {0, 20_001, 30_002, 40_003, 49_999} <= set(kept)
    assert thinned(values[:MOST_POINTS]) == list(range(MOST_POINTS))


def test_a_page_with_many_large_pictures_stays_small(run: Path):
    noise = np.random.default_rng(0)
    for step in range(100, 108):
        pixels = noise.integers(0, 256, (500, 400, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(run / "samples" / f"step-{step:08d}.png")
    text, told = written(run)
    assert told["bytes"] == len(text.encode()) <= MOST_BYTES
    (frames,) = embedded(text)["albums"]
    assert told["pictures"] == len(frames) <= 12
    assert (frames[0]["step"], frames[-1]["step"]) == (3, 107)
    assert f"{len(frames)} of 12 pictures, made smaller" in text


def test_a_page_shows_what_the_last_evaluation_drew(run: Path, tmp_path: Path):
    import base64

    drawn = run / "pictures"
    drawn.mkdir()
    for name, step, side in (("curve", 4, 30), ("curve", 12, 40), ("odd.name", 12, 50)):
        Image.new("RGB", (side, side), (step, 0, 0)).save(drawn / f"{name}-step-{step:08d}.png")
    (drawn / "broken-step-00000012.png").write_bytes(b"nothing")
    (drawn / "notes.txt").write_text("no picture")
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    (drawn / "secret-step-00000001.png").symlink_to(tmp_path / "secret.png")
    text, told = written(run)
    assert told["drawings"] == 2
    assert base64.b64encode((drawn / "curve-step-00000012.png").read_bytes()).decode() in text
    assert base64.b64encode((drawn / "curve-step-00000004.png").read_bytes()).decode() not in text
    assert 'alt="curve of pictures" width="40"' in text
    assert "odd.name, step 12, 96 images" in text
    assert "pictures/broken-step-00000012.png cannot be shown" in text
    assert "leads out of the run folder" in text
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    for number in range(12):
        Image.fromarray(noise).save(drawn / f"large{number:02d}-step-00000012.png")
    assert written(run)[1]["bytes"] <= MOST_BYTES


def test_fewer_pictures_are_spread_evenly():
    assert spread(5, 24) == [0, 1, 2, 3, 4]
    assert spread(101, 6) == [0, 20, 40, 60, 80, 100]
    assert len(spread(1000, 24)) == 24


def test_pictures_that_fit_are_the_files_themselves(run: Path):
    import base64

    (frames,) = embedded(written(run)[0])["albums"]
    files = sorted((run / "samples").iterdir())
    assert [base64.b64decode(frame["source"].partition(",")[2]) for frame in frames] == [f.read_bytes() for f in files]
    assert [frame["images"] for frame in frames] == [24, 48, 72, 96]


def test_events_stand_where_they_happened(run: Path):
    (run / "failures.jsonl").write_text(json.dumps({"text": "out of memory", "step": 5, "rank": 1, "final": False}))
    raised = {"step": 7, "images": 56, "check": "collapse", "value": 0.1, "threshold": 0.3, "text": "few modes"}
    lines = [{**raised, "state": "raised"}, {**raised, "step": 9, "images": 72, "state": "over"}]
    (run / "health.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text, told = written(run)
    assert told["events"] == 3
    events = [(event["kind"], event["images"], event["subject"]) for event in embedded(text)["events"]]
    assert events == [("failure", 40, "rank 1"), ("raised", 56, "collapse"), ("over", 72, "collapse")]
    assert "out of memory; it was tried once more" in text
    assert "few modes" in text


def without(run: Path, *names: str) -> None:
    for name in names:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def unfinished(run: Path) -> str:
    without(run, "result.json", "generator.safetensors")
    return "unfinished: 96 of 96 images in 12 steps"


def failed(run: Path) -> str:
    without(run, "result.json")
    (run / "failures.jsonl").write_text(json.dumps({"text": "not a number", "step": 12, "rank": 0, "final": True}))
    return "failed: 96 of 96 images in 12 steps"


def one_step(run: Path) -> str:
    without(run, "result.json", "checkpoints", "samples")
    first = (run / "metrics.jsonl").read_text().splitlines()[0]
    (run / "metrics.jsonl").write_text(first + "\n")
    return "unfinished: 8 of 96 images in 1 steps"


def just_begun(run: Path) -> str:
    without(run, "result.json", "checkpoints", "samples", "metrics.jsonl")
    return "No values were logged yet."


def half_written(run: Path) -> str:
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 13, "images\n[1]\n\xff\xfe\n' + b'{"step": true, "images": "x"}\n')
    return "metrics.jsonl: 3 lines could not be read"


def broken_result(run: Path) -> str:
    (run / "result.json").write_text("[" * 100_000)
    return "result.json cannot be read"


def broken_manifest(run: Path) -> str:
    (next((run / "checkpoints").iterdir()) / "manifest.json").write_text("{")
    return "manifest.json of step-00000012 cannot be read"


def broken_picture(run: Path) -> str:
    (run / "samples" / "step-00000006.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 100)
    return "samples/step-00000006.png cannot be shown"


def picture_of_another(run: Path) -> str:
    secret = run.parent / "secret.png"
    Image.new("L", (8, 8)).save(secret)
    (run / "samples" / "step-00000099.png").symlink_to(secret)
    return "samples/step-00000099.png is a link that leads out of the run folder"


def odd_numbers(run: Path) -> str:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 14, "images": 112, "loss/generator/total": null, "odd": 1e999, "a": "b", "n": [], "z": 1')
        file.write("0" * 400 + "}\n")
    return "finished: 112 images in 14 steps"


STATES = [
    unfinished, failed, one_step, just_begun, half_written, broken_result, broken_manifest, broken_picture,
    picture_of_another, odd_numbers,
]  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_a_run_in_any_state_has_its_page(run: Path, state: Any):
    said = state(run)
    text, told = written(run)
    assert said in text
    assert told["bytes"] > 100_000
    embedded(text)


def test_several_runs_stand_beside_each_other(runs: Path, tmp_path: Path):
    text, told = written(runs / "pictures", runs / "points", out=tmp_path / "both.html")
    assert told["runs"] == ["pictures", "points"]
    assert not (runs / "pictures" / "report.html").exists()
    data = embedded(text)
    (losses,) = [chart for chart in data["charts"] if chart["title"] == "Total losses"]
    assert sorted((line["label"], line["colour"]) for line in losses["lines"]) == [
        ("pictures · discriminator", 0), ("pictures · generator", 0),
        ("points · discriminator", 1), ("points · generator", 1),
    ]  # fmt: skip
    assert len({(line["colour"], line["dash"]) for line in losses["lines"]}) == 4
    differences = text.partition("Where they differ")[2].partition("</table>")[0]
    for key in ("dataset.name", "architecture.name", "train.images", "evaluate.metrics"):
        assert f"<code>{key}</code>" in differences
    assert "train.batch_size" not in differences


def test_a_checkpoint_leads_to_its_run(run: Path):
    (checkpoint,) = (run / "checkpoints").iterdir()
    assert written(checkpoint)[1]["report"] == str(run / "report.html")


def test_texts_of_a_run_are_never_markup(run: Path):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["run"]["name"] = config["dataset"]["root"] = config["architecture"]["name"] = EVIL
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "failures.jsonl").write_text(json.dumps({"text": EVIL, "step": 5, "rank": EVIL}))
    (run / "result.json").write_text(json.dumps({"protocol": {EVIL: EVIL}}))
    log(run, step=20, images=160, **{f"{EVIL}/a": 1.0, f"evaluation/{EVIL}": 1.0})
    text, _ = written(run)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    # Exactly the page's own three scripts.
    assert text.count("<script") == 3
    assert embedded(text)["runs"] == [EVIL]


def test_mistakes_are_one_line(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def said(*arguments: str) -> str:
        assert main(["report", *arguments]) == 2
        return capsys.readouterr().err.strip()

    assert said(str(run.parent / "picture")).endswith("no such run folder; did you mean pictures?")
    assert said(str(run.parent)).endswith("not a run folder, it has no config.yaml; runs in it: pictures")
    assert "--out" in said(str(run), "--out", str(run))
    (run / "file").write_text("")
    assert "cannot be written" in said(str(run), "--out", str(run / "file" / "page.html"))
    assert "at most 12" in said(*[str(run)] * 13)

    def absent(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(pages.importlib.metadata, "distribution", absent)
    assert said(str(run)).endswith("pip install 'gandist[report]'")
    (run / "config.yaml").write_text("a: [")
    assert "cannot be read as YAML" in said(str(run))
    assert not (run / "report.html").exists()


def test_json_says_where_the_page_is(run: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["report", str(run), "--out", str(run.parent / "new" / "page.html"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == str(run.parent / "new" / "page.html")
    assert told["bytes"] == Path(told["report"]).stat().st_size


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


def test_the_page_in_a_browser(chromium: Any, run: Path):
    (run / "failures.jsonl").write_text(json.dumps({"text": EVIL, "step": 5, "rank": 0}))
    text, told = written(run)
    with opened(chromium, run / "report.html") as tab:
        page = tab.page
        assert page.locator(".uplot").count() == told["charts"] == len(embedded(text)["charts"])
        assert page.locator("canvas").count() == told["charts"]
        seen = [page.locator("img").get_attribute("src")]
        assert page.locator("#moment").inner_text() == "96 images"
        before = page.locator(".here").first.bounding_box()["x"]
        plot = page.locator(".u-over").first.bounding_box()
        assert before == pytest.approx(plot["x"] + plot["width"], abs=2)
        page.locator("#slider").focus()
        for _ in range(3):
            page.keyboard.press("ArrowLeft")
            seen.append(page.locator("img").get_attribute("src"))
        assert len(set(seen)) == 4
        assert page.locator("#moment").inner_text() == "24 images"
        assert page.locator("[data-caption]").inner_text() == "step 3, 24 images"
        assert page.locator(".here").first.bounding_box()["x"] < before
        assert page.evaluate("document.querySelector('img').naturalWidth") > 0
        page.locator("#play").click()
        # The last picture comes again after half a second each.
        page.locator("#moment", has_text="96 images").wait_for()
        assert (tab.errors, tab.requests) == ([], [])


def test_texts_of_a_run_do_nothing_in_a_browser(chromium: Any, run: Path):
    test_texts_of_a_run_are_never_markup(run)
    with opened(chromium, run / "report.html") as tab:
        assert tab.page.locator("h1").inner_text() == EVIL
        assert tab.page.locator(".uplot").count() > 5
        assert (tab.errors, tab.requests) == ([], [])


def test_the_page_on_a_phone_and_in_the_dark(chromium: Any, runs: Path, tmp_path: Path):
    file = tmp_path / "both.html"
    written(runs / "pictures", runs / "points", out=file)
    shades = {}
    for dark in (False, True):
        with opened(chromium, file, width=390, height=844, dark=dark) as tab:
            assert tab.page.evaluate("document.documentElement.scrollWidth") <= 390
            assert all(box["width"] <= 390 for box in map(_box, tab.page.locator(".uplot").all()))
            shades[dark] = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (tab.errors, tab.requests) == ([], [])
    assert shades == {False: "rgb(255, 255, 255)", True: "rgb(20, 23, 28)"}


def _box(one: Any) -> dict[str, float]:
    return one.bounding_box()
