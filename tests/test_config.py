"""From YAML files to one validated config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gandist import ConfigError
from gandist.config.annotate import annotated, origins
from gandist.config.changes import forbidden_changes
from gandist.config.compose import compose
from gandist.config.json_schema import json_schema
from gandist.config.resolve import resolve
from gandist.config.schema import Config
from gandist.config.yaml import read_yaml

CONFIGS = Path(__file__).parent.parent / "configs"
POINTS = {
    "run": {"name": "points"},
    "dataset": {"name": "gaussians", "count": 1000},
    "architecture": {"name": "mlp", "width": 8},
    "loss": {"name": "non-saturating"},
    "train": {"batch_size": 16},
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plain(config: dict[str, Any], *overrides: str) -> Config:
    return resolve(compose(config, overrides))


def write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def test_extends_merges_maps_and_replaces_lists_and_other_components(here: Path) -> None:
    write(
        {
            "base/a.yaml": "extends: deep/z.yaml\ntrain: {images: 1, keep: 3}\nloss: {name: wgan-gp, d_steps: 3}\n",
            "base/deep/z.yaml": "dataset: {name: digits, size: 32}\nrun: {name: base, seed: 7}\n",
            "b.yaml": "optimizer: {generator: {betas: [0.1, 0.2]}}\n",
            "top.yaml": "extends: [base/a.yaml, b.yaml]\ntrain: {images: 2}\nrun: {name: top}\n"
            "loss: {name: minimax}\ndataset: {name: digits, split: test}\n"
            "optimizer: {generator: {betas: [0.3, 0.4]}}\n",
        }
    )
    composed = compose("top.yaml")
    assert composed.mapping == {
        "train": {"images": 2, "keep": 3},
        "loss": {"name": "minimax"},
        "dataset": {"name": "digits", "size": 32, "split": "test"},
        "run": {"name": "top", "seed": 7},
        "optimizer": {"generator": {"betas": [0.3, 0.4]}},
    }
    assert composed.origin["train.images"] == "top.yaml:2"
    assert composed.origin["train.keep"] == "base/a.yaml:2"
    assert composed.origin["dataset.size"] == "base/deep/z.yaml:1"
    assert "loss.d_steps" not in composed.origin


def test_a_file_may_be_extended_by_two(here: Path) -> None:
    write({"z.yaml": "a: {x: 1}", "l.yaml": "extends: z.yaml\nb: 1", "r.yaml": "extends: z.yaml\nc: 1"})
    write({"top.yaml": "extends: [l.yaml, r.yaml]"})
    assert compose("top.yaml").mapping == {"a": {"x": 1}, "b": 1, "c": 1, "run": {"name": "top"}}


def test_the_name_of_the_run_is_the_file_s(here: Path) -> None:
    write({"ring8.yaml": "train: {keep: 1}", "named.yaml": "run: {name: other}", "bare.yaml": "run:\n  # seed: 1\n"})
    assert compose("ring8.yaml").mapping["run"] == {"name": "ring8"}
    assert compose("bare.yaml").mapping["run"] == {"name": "bare"}
    assert compose("named.yaml").mapping["run"] == {"name": "other"}


@pytest.mark.parametrize(
    ("overrides", "path", "value"),
    [
        (["train.images=5"], "train", {"images": 5, "keep": 3}),
        (["train={images: 5}"], "train", {"images": 5, "keep": 3}),
        (["train.images=null"], "train", {"keep": 3}),
        (["train=null"], "train", None),
        (["run.name=other"], "run", {"name": "other", "seed": 7}),
        # Another component replaces the section, wherever it stands on the command line.
        (["loss.d_steps=2", "loss.name=minimax"], "loss", {"name": "minimax", "d_steps": 2}),
        (["loss={name: minimax}"], "loss", {"name": "minimax"}),
        (["loss=minimax"], "loss", {"name": "minimax"}),
        (["loss.name=wgan-gp"], "loss", {"name": "wgan-gp", "d_steps": 3, "regularizers": [{"name": "r1"}, "r1"]}),
        (["loss.d_steps=2", "loss={name: wgan-gp, gp_weight: 1}"], "loss.d_steps", 2),
        (["loss.regularizers.0.weight=2"], "loss.regularizers", [{"name": "r1", "weight": 2}, "r1"]),
        (["loss.regularizers.1.weight=2"], "loss.regularizers", [{"name": "r1"}, {"name": "r1", "weight": 2}]),
        (["loss.regularizers.0=null"], "loss.regularizers", ["r1"]),
        (["loss.regularizers=[]"], "loss.regularizers", []),
        (["dataset.size=32"], "dataset", {"name": "digits", "size": 32}),
        (["dataset={size: 32}"], "dataset", {"name": "digits", "size": 32}),
        (["dataset=digits", "dataset.size=32"], "dataset", {"name": "digits", "size": 32}),
        (["optimizer.generator.name=sgd"], "optimizer.generator", {"name": "sgd"}),
        (["optimizer.generator.name=adam"], "optimizer.generator", {"name": "adam", "eps": 1e-6}),
        (["cluster.workers=1..4"], "cluster", {"workers": "1..4"}),
    ],
)
def test_overrides(overrides: list[str], path: str, value: Any) -> None:
    config = {
        "run": {"name": "base", "seed": 7},
        "train": {"images": 1, "keep": 3},
        "loss": {"name": "wgan-gp", "d_steps": 3, "regularizers": [{"name": "r1"}, "r1"]},
        "dataset": "digits",
        "optimizer": {"generator": {"eps": 1e-6}},
    }
    found: Any = compose(config, overrides).mapping
    for part in path.split("."):
        found = found.get(part)
    assert found == value
    assert config["dataset"] == "digits", "the caller's mapping is not changed"
    assert config["loss"]["d_steps"] == 3


def test_overrides_as_a_mapping() -> None:
    config = plain(POINTS)
    assert resolve(compose(POINTS, {"train.batch_size": 8, "run.seed": 3})) == config.model_copy(
        update={
            "train": config.train.model_copy(update={"batch_size": 8}),
            "run": config.run.model_copy(update={"seed": 3}),
        }
    )


def test_a_complete_config_resolves_to_itself() -> None:
    config = plain(POINTS, "loss={name: wgan-gp, regularizers: [{name: r1, every: 4}]}", "optimizer.generator.name=sgd")
    again = resolve(config.model_dump(mode="json"))
    assert again == config
    assert again.loss.regularizers[0].model_dump()["every"] == 4
    assert resolve(json.loads(json.dumps(config.model_dump(mode="json")))) == config


def test_null_gives_the_default_back_where_it_is_no_value() -> None:
    config = {**POINTS, "train": None, "optimizer": {"generator": None}, "evaluate": {"count": None}, "tracking": None}
    assert plain(config).train == Config.model_fields["train"].default
    assert plain(config).evaluate.count == 2000
    assert plain({**POINTS, "train": {"micro_batch": None}}).train.micro_batch is None


def test_every_player_gets_an_optimizer_and_every_watcher_its_section() -> None:
    config = plain(POINTS, "optimizer.generator.lr=1e-3")
    assert config.optimizer["generator"].lr == 1e-3
    assert config.optimizer["discriminator"].name == "adam"
    assert {"console", "metrics", "grids", "wandb"} <= set(config.tracking)


@pytest.mark.parametrize("text", ["0", "1", "3", "1..1", "2..8"])
def test_workers(text: str) -> None:
    cluster = plain(POINTS, f"cluster.workers={text}").cluster
    low, _, high = text.partition("..")
    assert (cluster.fewest_workers, cluster.most_workers) == (int(low), int(high or low))


@pytest.mark.parametrize("text", ["-1", "2.5", "8..1", "0..2", "1...3", "'two'", "[1]", "true"])
def test_workers_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.workers"):
        plain(POINTS, f"cluster.workers={text}")


def test_annotated_yaml_reads_back_and_names_origins(here: Path) -> None:
    write(
        {
            "base.yaml": "architecture: {name: mlp, width: 8}\ndataset: gaussians\n",
            "top.yaml": "extends: base.yaml\nloss:\n  name: non-saturating\n  regularizers:\n    - name: r1\n",
        }
    )
    composed = compose("top.yaml", ["train.images=99", "loss.regularizers.0.every=4"])
    complete = resolve(composed).model_dump(mode="json")
    text = annotated(complete, composed.origin)
    Path("again.yaml").write_text(text)
    assert resolve(compose("again.yaml")).model_dump(mode="json") == complete
    comments = {line.split("#")[0].strip(" -"): line.split("# ")[1] for line in text.splitlines() if "#" in line}
    assert comments["width: 8"] == "base.yaml:1"
    assert comments["name: gaussians"] == "base.yaml:2"
    assert comments["name: r1"] == "top.yaml:5"
    assert comments["every: 4"] == "command line"
    assert comments["images: 99"] == "command line"
    assert comments["batch_size: 64"] == "default"
    assert origins(complete, composed.origin)["loss.regularizers.0.weight"] == "default"


def test_a_resume_may_change_length_place_and_watching_only() -> None:
    old = plain(POINTS).model_dump(mode="json")
    allowed = ["train.images=9", "train.keep=5", "train.log_every=1", "cluster.workers=4", "evaluate.every=3"]
    assert forbidden_changes(old, plain(POINTS, *allowed, "tracking.wandb.mode=offline").model_dump(mode="json")) == []
    changed = plain(POINTS, "train.ema.half_life=5", "loss.name=minimax", "optimizer.generator.betas=[0.1, 0.999]")
    assert forbidden_changes(old, changed.model_dump(mode="json")) == [
        "loss.name: 'non-saturating' → 'minimax'",
        "optimizer.generator.betas.0: 0.5 → 0.1",
        "train.ema.half_life: 20000 → 5",
    ]
    more = plain(POINTS, "loss.regularizers=[r1]").model_dump(mode="json")
    assert forbidden_changes(old, more)[0].startswith("loss.regularizers: [] → [{")


def test_the_json_schema_is_valid_and_takes_our_configs() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    files = sorted(set(CONFIGS.rglob("*.yaml")) - set(CONFIGS.glob("sweep-*.yaml")))
    assert files
    for file in files:
        mapping = read_yaml(file).mapping
        if file.parent == CONFIGS:
            assert list(validator.iter_errors(mapping)) == [], file
            resolve(compose(file))
    validator.validate(plain(POINTS).model_dump(mode="json"))


@pytest.mark.parametrize(
    "override",
    ["train.bach_size=3", "train.images=0", "loss.name=nope", "architecture.widht=3", "tracking.wanbd={}"],
)
def test_the_json_schema_refuses_mistakes(override: str) -> None:
    mapping = compose(POINTS, [override]).mapping
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(mapping)


def test_the_json_schema_describes_every_key() -> None:
    schema = json_schema()
    for section in ("Train", "Cluster", "Evaluate", "Run"):
        for name, field in schema["$defs"][section]["properties"].items():
            assert field.get("description"), f"{section}.{name}"


def test_paths_are_told_as_they_were_given(here: Path) -> None:
    write({"sub/a.yaml": "extends: ../b.yaml\n", "b.yaml": "train: {x: 1}\n"})
    with pytest.raises(ConfigError) as caught:
        resolve(compose(Path("sub") / "a.yaml"))
    assert "(b.yaml:1)" in str(caught.value)
