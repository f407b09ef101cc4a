"""Sweep files: what they mean, and what is told of the ones that are wrong; nothing is trained here."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from gandist.config.json_schema import sweep_schema
from gandist.config.sweep import Space, Sweep, read_sweep
from gandist.config.trials import Trial, best_config, trials
from gandist.errors import ConfigError
from gandist.evaluation.metrics import scores, validate
from gandist.launch.halving import Halving
from gandist.launch.sweep_ledger import DONE, FAILED, RUNNING, STOPPED, WAITING, Ledger

CONFIG = """
dataset: {name: digits, size: 16}
architecture: {name: dcgan, width: 8, latent: 16, norm: none}
loss: {name: non-saturating, regularizers: [{name: r1, weight: 1.0, every: 8}]}
train: {images: 3200, batch_size: 32}
evaluate: {every: 25, metrics: [frechet]}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "small.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str) -> str:
    Path("configs/sweep.yaml").write_text(f"config: small.yaml\n{text}")
    return "configs/sweep.yaml"


def found(text: str, *overrides: str) -> list[Trial]:
    return trials(read_sweep(write(text), overrides=overrides), validate, scores)


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        found(text)
    return str(error.value)


def test_a_grid_is_each_value_with_each_other(here: Path):
    made = found("search: {run.seed: [1, 2, 3], architecture.width: [8, 16]}")
    pairs = [(trial.config.run.seed, trial.config.architecture.model_dump()["width"]) for trial in made]
    assert sorted(pairs) == [(seed, width) for seed in (1, 2, 3) for width in (8, 16)]
    assert [trial.name for trial in made] == [f"trial-{number:05d}" for number in range(6)]


DRAWN = """
trials: {trials}
search:
  optimizer.generator.lr: {{loguniform: [1e-4, 1e-2]}}
  loss.regularizers.0.weight: {{uniform: [0, 10]}}
  run.seed: {{int: [0, 3]}}
  architecture.width: {{choice: [8, 16]}}
"""


def test_what_is_drawn_depends_on_seed_number_and_key_alone(here: Path):
    few, many = found(DRAWN.format(trials=3)), found(DRAWN.format(trials=64))
    assert [trial.values for trial in few] == [trial.values for trial in many[:3]]
    other = found(f"seed: 1\n{DRAWN.format(trials=3)}")
    assert all(one.values != two.values for one, two in zip(few, other, strict=True))
    rates = [trial.values["optimizer.generator.lr"] for trial in many]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    below = sum(rate < 1e-3 for rate in rates)
    assert 16 < below < 48, "half of the draws lie in each factor of ten"
    assert {trial.values["run.seed"] for trial in many} == {0, 1, 2, 3}
    assert many[5].config.optimizer["generator"].model_dump()["lr"] == many[5].values["optimizer.generator.lr"]


@pytest.mark.parametrize(
    ("space", "values"),
    [
        (Space(int=(2, 4)), [2, 3, 4]),
        (Space(choice=("a", "b")), ["a", "b", "b"]),
        (Space(uniform=(-1.0, 1.0)), [-1.0, 0.0, 1.0]),
        (Space(loguniform=(1e-4, 1.0)), [1e-4, 1e-2, 1.0]),
    ],
)
def test_draws_reach_from_end_to_end(space: Space, values: list[object]):
    assert [space.draw(share) for share in (0.0, 0.5, 1 - 1e-12)] == values


def test_trials_live_in_the_folder_of_the_sweep_and_in_one_group(here: Path):
    first = found("search: {run.seed: [1, 2]}", "train.images=640")[0]
    assert first.config.cluster.storage == str(here / "runs" / "sweep")
    assert first.storage == "runs"
    assert first.config.tracking["wandb"].model_dump()["group"] == "sweep"
    assert first.config.train.images == 640
    own = found("search: {run.seed: [1, 2]}\noverrides: {tracking.wandb.group: mine}")[0]
    assert own.config.tracking["wandb"].model_dump()["group"] == "mine"
    file = read_sweep("configs/sweep.yaml", name="other")
    best = best_config(file, trials(file, validate, scores)[1])
    assert (best.run.name, best.run.seed, best.cluster.storage) == ("other-best", 2, "runs")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["search", "is required"]),
        ("search: {}", ["search", "should be"]),
        ("search: {run.seed: [1]}\ntrails: 3", ["trails", "did you mean trials?", "sweep.yaml:"]),
        ("search: {run.seed: {unifrom: [0, 1]}}", ["search.run.seed.unifrom", "did you mean uniform?"]),
        ("search: {run.seed: {int: [0, 9]}}", ["trials", "is required", "run.seed is drawn at random"]),
        ("search: {run.seed: [1, 2, 3]}\ntrials: 2", ["trials", "the grid alone has 3 points"]),
        ("search: {run.seed: [1, 2, 3]}\ntrials: 4", ["trials", "nothing is drawn"]),
        ("search: {run.seed: {int: [9, 0]}}\ntrials: 2", ["search.run.seed", "should be less than the second"]),
        ("search: {a.b: {loguniform: [0, 1]}}\ntrials: 2", ["search.a.b", "should begin above 0"]),
        ("search: {run.name: [a, b]}", ["search", "run.name cannot vary"]),
        ("search: {run.sed: [1, 2]}", ["run.sed", "did you mean seed?", "sweep.yaml:2"]),
        ("search: {architecture.width: [8, 0]}", ["architecture.width", "is 0"]),
        (
            "search: {optimizer.generator.lr: {uniform: [0, 1]}}\ntrials: 1",
            ["optimizer.generator.lr", "should be more than 0, is 0.0"],
        ),
        ("search: {dataset.size: [16, 30]}", ["architecture", "30×30"]),
        ("search: {run.seed: [1]}\nmetric: frecht", ["metric", "did you mean frechet?"]),
        ("search: {run.seed: [1]}\noverrides: {evaluate.every: 0}", ["evaluate.every", "judges its trials by"]),
        ("search: {run.seed: [1]}\noverrides: {cluster.workers: 1..2}", ["cluster.workers", "give a number"]),
        ("search: {run.seed: [1]}\nscheduler: hyperband", ["scheduler.name", "'asha', 'none'"]),
        ("search: {run.seed: [1]}\nconcurrent: 0", ["concurrent", "at least 1"]),
        ("search: {run.seed: [1], run.seed: [2]}", ["duplicate key 'run.seed'"]),
    ],
)
def test_a_mistake_is_told_with_its_place_before_anything_starts(here: Path, text: str, said: list[str]):
    message = refused(text)
    for words in said:
        assert words in message, message
    assert message.startswith("configs/sweep.yaml")
    assert not Path("runs").exists()


def test_all_trials_are_checked_and_each_problem_is_told_once(here: Path):
    message = refused("search: {train.batch_size: [32, 0, -1], run.seed: [1, 2], loss.regularizers.0.weight: [1, x]}")
    assert message.splitlines()[0] == "configs/sweep.yaml: 3 problems"


def test_a_config_that_is_not_there_is_named(here: Path):
    Path("configs/sweep.yaml").write_text("config: smal.yaml\nsearch: {run.seed: [1]}\n")
    with pytest.raises(ConfigError, match=r"smal\.yaml: no such file; did you mean small\.yaml"):
        trials(read_sweep("configs/sweep.yaml"), validate, scores)


def ledger(here: Path, mode: str = "min") -> Ledger:
    return Ledger("sweep", "frechet", mode, found("search: {run.seed: [1, 2, 3, 4]}"))


def test_the_ledger_ranks_and_goes_on(here: Path):
    first = ledger(here)
    for number, (status, value) in enumerate([(DONE, 5.0), (STOPPED, 3.0), (RUNNING, float("nan")), (FAILED, 4.0)]):
        entry = first[f"trial-{number:05d}"]
        entry.evaluated(100, 3200, value, {"frechet": value})
        entry.status = status
    assert [entry.value for entry in first.ranked()][:3] == [3.0, 4.0, 5.0]
    assert first.best is not None
    assert first.best.trial == "trial-00000", "of those that ran to their end"
    text = json.dumps(first.as_dict(), allow_nan=False)
    again = ledger(here)
    again.read(text, "results.json")
    assert [entry.status for entry in again.entries.values()] == [DONE, STOPPED, WAITING, WAITING]
    assert again.left == ["trial-00002", "trial-00003"]
    assert again["trial-00001"].history == [(100, 3200, 3.0)]
    judged = Ledger("sweep", "confident", "max", found("search: {run.seed: [1, 2, 3, 4]}"))
    judged.read(text.replace('"metrics": {"frechet": 5.0}', '"metrics": {"frechet": 5.0, "confident": 0.5}'), "")
    assert judged["trial-00000"].history == [(100, 3200, 0.5)], "the last evaluation's, where another score counts now"
    assert first.as_csv().splitlines()[1] == "trial-00001,stopped early,3,3200,2"


def test_a_trial_that_is_done_goes_on_when_it_is_made_longer(here: Path):
    first = ledger(here)
    first["trial-00000"].evaluated(100, 3200, 5.0, {"frechet": 5.0})
    first["trial-00000"].status = DONE
    text = json.dumps(first.as_dict())
    longer = Ledger("sweep", "frechet", "min", found("search: {run.seed: [1, 2, 3, 4]}", "train.images=6400"))
    for again, left in ((ledger(here), 3), (longer, 4)):
        again.read(text, "results.json")
        assert len(again.left) == left


def test_an_evaluation_that_is_done_again_counts_once(here: Path):
    entry = ledger(here)["trial-00000"]
    for step in (25, 50, 75, 50):
        entry.evaluated(step, 32 * step, float(step), {})
    assert entry.history == [(25, 800, 25.0), (50, 1600, 50.0)]


def test_another_sweep_in_the_folder_is_refused(here: Path):
    text = json.dumps(ledger(here).as_dict())
    other = Ledger("sweep", "frechet", "min", found("search: {run.seed: [1, 7, 3, 4]}"))
    with pytest.raises(ConfigError, match=r"trial-00001 was run\.seed=2 and is run\.seed=7 now; .*--fresh"):
        other.read(text, "results.json")
    with pytest.raises(ConfigError, match="is damaged"):
        other.read("{", "results.json")


def test_halving_halts_the_worse_and_remembers_those_of_an_earlier_command(here: Path):
    def halted(remembered: bool) -> set[int]:
        halving = Halving("frechet", "min", longest=9000, grace=1000, reduction=3)
        earlier = [(1000, f"trial-{number:05d}", value) for number, value in enumerate([0.1, 0.2, 0.3])]
        if remembered:
            halving.remember("frechet", earlier)
        for number, value in ((3, 0.5), (4, 2.5), (5, 0.7)):
            trial = SimpleNamespace(trial_id=f"tune-{number}", config={"trial": number})
            halving.on_trial_add(None, trial)  # type: ignore[arg-type]
            for images in (500, 1000):
                result = {"images": images, "frechet": value}
                assert halving.on_trial_result(None, trial, result) == "CONTINUE", "it leaves by itself"
        return halving.halted

    assert halted(remembered=False) == {4}
    assert halted(remembered=True) == {3, 4, 5}


def test_editors_know_the_forms_of_a_sweep_file():
    properties = sweep_schema()["properties"]
    assert properties.keys() == Sweep.model_fields.keys()
    assert {"type": "array"} in properties["search"]["additionalProperties"]["anyOf"]
    assert {"enum": ["asha", "none"]} in properties["scheduler"]["anyOf"]
    assert sweep_schema()["required"] == ["config", "search"]


def test_the_names_of_scores_are_those_that_metrics_give():
    from test_metrics_doc import image_metrics, image_scores

    given = {name.removeprefix("evaluation/") for name in image_scores() if name.count("/") == 1}
    assert given == {score for metric in image_metrics() for score in metric.all_scores()}
