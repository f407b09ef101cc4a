"""The watcher `health`: its measures, when it raises an alarm and when not, and that nobody trains otherwise for it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import tiny
import torch
import yaml
from faulty import NanGradient
from gandist_architectures.mlp import Generator, Mlp
from gandist_datasets.digits import Digits
from torch import Tensor, nn

from gandist import Facts, Probe, Source, Watcher
from gandist.config.schema import Config
from gandist.errors import NotFiniteError
from gandist.launch.watching import Watchers
from gandist.testing.tiny import BaseLoss, RandomSamples
from gandist.tracking import looks
from gandist.tracking.alarms import CURES, MARGIN, Alarms, Reading
from gandist.tracking.diversity import effective_number, features, nearest, shares_worth, spread
from gandist.tracking.health import Check
from gandist.tracking.metrics_file import read
from gandist.training import checkpoint
from gandist.training.loop import train
from gandist.training.run import RunView
from gandist.training.sampling import samples
from gandist.training.state import Progress
from gandist.training.surroundings import Announce, Surroundings
from tests.processes import run as command
from tests.small_runs import config as small
from tests.small_runs import on_ranks
from tests.test_wandb import records, segments

pytestmark = pytest.mark.arithmetic

ROOT = Path(__file__).parents[1]


def events(folder: Path) -> list[tuple[int, str, str]]:
    return [(row["step"], row["check"], row["state"]) for row in read(folder / "health.jsonl")]


# The measures.


@pytest.mark.parametrize("kinds", [1, 4, 16, 64])
def test_the_effective_number_counts_what_is_different(kinds: int):
    rows = torch.randn(kinds, 7, generator=torch.Generator().manual_seed(0)).mul(1e3).repeat(64 // kinds, 1)
    assert effective_number(rows, scale=1.0) == pytest.approx(kinds, rel=1e-9)
    assert effective_number(1e-6 * rows, scale=1e-6) == pytest.approx(kinds, rel=1e-9)


def test_the_effective_number_is_that_of_its_definition():
    rows = torch.tensor([[0.0], [1.0], [3.0]]).double()
    kernel = [[math.exp(-0.5 * ((a - b) / (0.25 * 8.0)) ** 2) for b in (0, 1, 3)] for a in (0, 1, 3)]
    weights, vectors = torch.linalg.eigh(torch.tensor(kernel, dtype=torch.float64) / 3)
    entropy = -torch.trace(vectors @ torch.diag(weights * weights.log()) @ vectors.T)
    assert effective_number(rows, scale=8.0) == pytest.approx(math.exp(entropy), rel=1e-9)


def test_spread_is_the_root_of_the_mean_squared_distance():
    rows = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    squares = [(rows[i] - rows[j]).square().sum().item() for i in range(9) for j in range(9) if i != j]
    assert spread(rows) == pytest.approx(math.sqrt(sum(squares) / len(squares)), rel=1e-6)


@pytest.mark.parametrize(("shape", "width"), [((1, 8, 8), 64), ((3, 256, 200), 768), ((1, 40, 5), 80), ((2,), 2)])
def test_features_of_any_size(shape: tuple[int, ...], width: int):
    samples = torch.randint(256, (5, *shape), dtype=torch.uint8) if len(shape) == 3 else torch.randn(5, *shape)
    assert features(samples).shape == (5, width)
    assert features(samples).dtype == torch.float32


def test_points_that_are_not_finite_are_left_out():
    assert len(features(torch.tensor([[1.0, 2.0], [torch.nan, 0.0], [0.0, torch.inf]]))) == 1
    assert effective_number(torch.zeros(0, 2), 1.0) == 0.0


def test_the_nearest_is_somebody_else():
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0], [3.0, 5.0]])
    assert nearest(rows, rows).tolist() == pytest.approx([0.0] * 4, abs=5e-3)
    assert nearest(rows, rows, slice(None)).tolist() == pytest.approx([5.0, 1.0, 0.0, 0.0], abs=5e-3)
    assert nearest(rows[::2], rows, slice(None, None, 2)).tolist() == pytest.approx([5.0, 0.0], abs=5e-3)


def test_shares_are_worth_as_many_equal_ones():
    assert shares_worth(torch.tensor([0.25] * 4)) == pytest.approx(4)
    assert shares_worth(torch.tensor([1.0, 0.0])) == pytest.approx(1)


# The checks.


@pytest.fixture(scope="module")
def digits() -> Any:
    return Digits(size=32).open()


def some(source: Any, begin: int, count: int) -> Tensor:
    return source.read(range(begin, begin + count))["real"]


def test_real_samples_are_well(digits: Any):
    real = looks.RealSide(digits, 64)
    collapse = real.collapse(features(some(digits, 500, 64)), 0.1)
    assert collapse is not None
    assert collapse.well
    assert collapse.value == pytest.approx(1, abs=0.3)
    assert real.classes == pytest.approx(10, abs=1)


@pytest.mark.parametrize("kinds", [1, 2, 3])
def test_few_kinds_of_samples_are_a_collapse(digits: Any, kinds: int):
    rows = features(some(digits, 0, kinds)).repeat(64 // kinds, 1)
    collapse = looks.RealSide(digits, 64).collapse(rows, 0.1)
    assert collapse is not None
    assert collapse.bad


class Half(Source):
    """Every second image of a data set; the others are new to whoever trains on it."""

    def __init__(self, whole: Source):
        self._whole, self.facts = whole, replace(whole.facts, size=len(whole) // 2)

    def read(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return self._whole.read([2 * index for index in indices])


def test_a_beginner_is_excused_while_samples_lie_apart_at_all(digits: Any):
    real, source = looks.RealSide(digits, 64), features(some(digits, 0, 64))
    grey = source.mean(0) + 0.12 * (source - source.mean(0))
    slow, done = (real.collapse(grey, 0.1, begun) for begun in (False, True))
    dead = real.collapse(0.01 * grey, 0.1, begun=False)
    assert [one is not None and one.bad for one in (slow, done, dead)] == [False, True, True]


def test_copies_of_training_images_are_memorised_and_new_images_are_not(digits: Any):
    real, noise = looks.RealSide(Half(digits), 64), torch.Generator().manual_seed(0)
    images = some(digits, 0, 128).float()
    rough = (images + 4 * torch.randn(images.shape, generator=noise)).round().clamp(0, 255).byte()
    copies, new = (real.memorisation(features(rows), 0.3) for rows in (rough[::2], rough[1::2]))
    assert copies is not None
    assert new is not None
    assert copies.bad
    assert new.value == pytest.approx(1, abs=0.2)


def test_large_and_distant_data_are_not_searched(digits: Any, monkeypatch: pytest.MonkeyPatch):
    rows = features(some(digits, 0, 8))
    monkeypatch.setattr(looks, "MEMORISABLE", 1000)
    assert looks.RealSide(digits, 8).memorisation(rows, 0.3) is None
    monkeypatch.undo()
    monkeypatch.setattr(type(digits), "slow", True)
    assert looks.RealSide(digits, 8).memorisation(rows, 0.3) is None


def test_the_discriminator_is_saturated_when_it_is_right_and_sure():
    def reading(real: float, fake: float, right_real: float = 1.0, right_fake: float = 1.0) -> Reading:
        scalars = {"logits/real": real, "logits/fake": fake}
        found = looks.saturation(
            {**scalars, "accuracy/real": right_real, "accuracy/fake": right_fake}, gap=10.0, accuracy=0.99
        )
        assert found is not None
        return found

    assert reading(8, -8).bad
    assert not reading(4, -4).bad
    assert not reading(8, -8).well
    assert reading(2, -2).well
    assert reading(8, -8, right_fake=0.9).well
    assert reading(8, -8, right_real=0.9).well
    assert looks.saturation({"logits/real": 8.0, "logits/fake": -8.0}, gap=10.0, accuracy=0.99) is None


def test_the_gradient_is_compared_with_what_it_was():
    gradient = looks.Gradient()
    for norm in (2.0, 0.5, None, 900.0, 1.0, 1.5):
        assert gradient.vanished(1e-9, 1e-3) is None
        gradient.remember(norm)
    gone, there = gradient.vanished(1e-4, 1e-3), gradient.vanished(0.1, 1e-3)
    assert gone is not None
    assert there is not None
    assert gone.bad
    assert there.well
    assert gone.value == pytest.approx(1e-4 / 1.5)
    for _ in range(100):
        gradient.remember(1e-4)
    assert gradient.vanished(1e-4, 1e-3) == gone


def test_classes_are_counted_where_the_evaluation_has_them():
    even, one = ({f"class_share/{n}": share for n, share in enumerate(s)} for s in ([0.1] * 10, [0.91] + [0.01] * 9))
    assert looks.classes({"frechet": 1.0}, 10.0, 0.5) is None
    few, all_ = looks.classes(one, 10.0, 0.5), looks.classes(even, 9.0, 0.5)
    assert few is not None
    assert all_ is not None
    assert few.bad
    assert all_.well
    assert "`evaluation/class_share/<class>`" in (ROOT / "docs" / "metrics.md").read_text(), "read by name"


def test_every_check_has_a_cure_and_a_row_in_the_document():
    text = (ROOT / "docs" / "health.md").read_text()
    assert set(CURES) == set(Check.__args__)
    assert all(f"| `{check}` |" in text for check in CURES)


# The alarms.


def alarms(folder: Path, resumed_from: int | None = None, **given: Any) -> tuple[Alarms, list[str], list[str]]:
    warnings: list[str] = []
    asked: list[str] = []
    view = replace(tiny.view(folder, resumed_from, warnings=warnings), request=asked.append)
    settings = [given.get("patience", 2), given.get("stop", ()), given.get("save", ()), given.get("state", {})]
    return Alarms(view, *settings), warnings, asked


def feed(one: Alarms, values: list[float], begin: int = 1) -> None:
    for step, value in enumerate(values, begin):
        one.see(step, Reading("collapse", value, 0.1, f"{value}"))


def test_an_alarm_is_raised_once_and_ended_once(tmp_path: Path):
    one, warnings, asked = alarms(tmp_path)
    feed(one, [0.5, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.5, 0.5, 0.5])
    assert events(tmp_path) == [(5, "collapse", "raised"), (11, "collapse", "over")]
    assert [text.split(":")[1].strip() for text in warnings] == ["collapse at step 5", "collapse is over at step 11"]
    assert CURES["collapse"] in warnings[0]
    assert asked == []
    assert read(tmp_path / "health.jsonl")[0] == {
        "step": 5, "images": 40, "check": "collapse", "state": "raised", "value": 0.0, "threshold": 0.1,
        "text": f"0.0; likely cures: {CURES['collapse']}",
    }  # fmt: skip


def test_a_value_about_the_threshold_rings_once(tmp_path: Path):
    one, warnings, _ = alarms(tmp_path, patience=1)
    feed(one, [0.09, 0.11, 0.1 * MARGIN - 1e-6] * 50)
    assert len(warnings) == 1


def test_nothing_wrong_leaves_no_file(tmp_path: Path):
    feed(alarms(tmp_path)[0], [0.5] * 9)
    assert list(tmp_path.iterdir()) == []


def test_after_a_resume_what_was_raised_is_not_told_again(tmp_path: Path):
    before, _, _ = alarms(tmp_path)
    feed(before, [0.0] * 4)
    state = before.state
    feed(before, [0.5] * 4, begin=5)
    assert events(tmp_path) == [(2, "collapse", "raised"), (6, "collapse", "over")]
    one, warnings, _ = alarms(tmp_path, resumed_from=4, state=state)
    assert events(tmp_path) == [(2, "collapse", "raised")]
    feed(one, [0.0, 0.0, 0.5, 0.5], begin=5)
    assert events(tmp_path) == [(2, "collapse", "raised"), (8, "collapse", "over")]
    assert len(warnings) == 1


def test_after_a_resume_the_looks_before_the_checkpoint_count(tmp_path: Path):
    before, _, _ = alarms(tmp_path, patience=3)
    feed(before, [0.0, 0.0])
    one, _, _ = alarms(tmp_path, resumed_from=2, patience=3, state=before.state)
    feed(one, [0.0], begin=3)
    assert events(tmp_path) == [(3, "collapse", "raised")]


def test_a_fresh_start_forgets(tmp_path: Path):
    feed(alarms(tmp_path)[0], [0.0] * 4)
    alarms(tmp_path)
    assert events(tmp_path) == []


@pytest.mark.parametrize("what", ["stop", "save"])
def test_an_alarm_asks_for_what_it_was_told_to(tmp_path: Path, what: str):
    one, _, asked = alarms(tmp_path, **{what: ("collapse",)})
    feed(one, [0.0] * 9)
    one.see(10, Reading("gradient", 0.0, 0.1, ""))
    one.see(11, Reading("gradient", 0.0, 0.1, ""))
    assert asked == [what]


# Whole runs.


class ShrinkingGenerator(Generator):
    """Its latents shrink by a tenth with each of its turns, from some turn on."""

    gain: Tensor

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().forward(latents * self.gain.clamp(max=1.0), labels)


class Shrinking(Mlp):
    """A generator that is made to collapse from step `onset` on."""

    name: ClassVar[str] = "shrinking"

    onset: int = 0

    def build(self, facts: Facts) -> dict[str, nn.Module]:
        players = super().build(facts)
        shrinking = ShrinkingGenerator(players["generator"].body, self.latent, self.scale)
        shrinking.register_buffer("gain", torch.tensor(0.9**-self.onset))
        return {**players, "generator": shrinking}


class ShrinkingLoss(BaseLoss):
    """The loss under which it does."""

    name: ClassVar[str] = "shrinking-loss"

    def constrain(self, role: str, network: nn.Module) -> None:
        if role == "generator":
            network.gain.mul_(0.9)


def watched(config: Config, folder: Path, **given: Any) -> list[str]:
    """Trains with the config's watchers; the warnings."""
    warnings: list[str] = []

    def watch(view: RunView) -> Announce:
        return Watchers(config, view, "rank 0", warnings.append).announce

    train(config, config.dataset.open(), Surroundings(folder, watch=watch, warn=warnings.append, **given))
    return warnings


def shrinking(onset: int, steps: int, **health: Any) -> Config:
    return Config.model_validate(
        {
            "run": {"name": "shrinking"},
            "dataset": {"name": "gaussians"},
            "architecture": Shrinking(latent=2, width=64, onset=onset),
            "loss": ShrinkingLoss(),
            "optimizer": {role: {"lr": 1e-3, "betas": (0.0, 0.99)} for role in ("generator", "discriminator")},
            "train": {"images": 64 * steps, "batch_size": 64, "log_every": 50, "sample_every": 0, "save_every": 100},
            "tracking": {"health": {"every": 50, **health}},
        }
    )


@pytest.mark.parametrize("onset", [0, 150])
def test_a_collapse_is_flagged_within_200_steps(tmp_path: Path, onset: int):
    (warning,) = watched(shrinking(onset, onset + 250), tmp_path)
    assert "samples are worth 1.0 different ones" in warning
    ((step, check, event),) = events(tmp_path)
    assert (check, event) == ("collapse", "raised")
    assert onset < step <= onset + 200
    rows = read(tmp_path / "metrics.jsonl")
    diverse = {row["step"]: row["health/diversity"] for row in rows}
    assert all(value > 0.1 for at, value in diverse.items() if at <= onset)
    assert rows[-1]["health/alarms"] == 1


def test_an_alarm_may_end_the_run_and_is_not_repeated_when_it_goes_on(tmp_path: Path):
    asked: set[str] = set()
    config = shrinking(0, 250, stop=["collapse"])

    def requests() -> set[str]:
        answer = set(asked)
        asked.clear()
        return answer

    given = {"requests": requests, "request": asked.add}
    assert len(watched(config, tmp_path, **given)) == 1
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()][-1] == "step-00000151"
    assert watched(config, tmp_path, **given) == []
    assert events(tmp_path) == [(150, "collapse", "raised")]
    assert read(tmp_path / "metrics.jsonl")[-1]["step"] == 250


def test_an_interrupted_run_is_warned_at_the_step_of_an_undisturbed_one(tmp_path: Path):
    """Two of the three looks that an alarm takes lie before the checkpoint; its counters are in it."""
    config, asked = shrinking(0, 250, patience=3), 0

    def requests() -> set[str]:
        nonlocal asked
        asked += 1
        return {"stop"} if asked == 101 else set()

    assert watched(config, tmp_path, requests=requests) == []
    newest, _ = checkpoint.newest(tmp_path / "checkpoints")
    assert newest is not None
    kept = checkpoint.load(newest)[1]["progress"]["kept"]["health"]
    assert kept["alarms"] == {"raised": [], "streak": {"collapse": 2, "saturation": 0}}
    assert len(kept["gradient"]["norms"]) == 2
    (tmp_path / "metrics.jsonl").unlink()
    watched(config, tmp_path)
    assert events(tmp_path) == [(150, "collapse", "raised")]


def test_a_watcher_keeps_what_json_can_say(tmp_path: Path):
    progress = Progress("run")
    progress.keep("mine", {"a": (1, 2.5), "b": None})
    assert progress.kept == {"mine": {"a": [1, 2.5], "b": None}}
    with pytest.raises(TypeError):
        progress.keep("mine", Path())
    assert progress.kept["mine"]["b"] is None


def test_a_value_that_is_not_finite_goes_on_record(tmp_path: Path):
    config = small(NanGradient(), tracking={"health": {}})
    told: list[tuple[int, str, bool]] = []
    watchers: list[Watchers] = []

    def watch(view: RunView) -> Announce:
        alarmed = replace(view, alarm=lambda step, name, text, raised: told.append((step, name, raised)))
        watchers.append(Watchers(config, alarmed, "rank 0", print))
        return watchers[0].announce

    with pytest.raises(NotFiniteError) as failure:
        train(config, config.dataset.open(), Surroundings(tmp_path, watch=watch))
    # As a worker's last act.
    watchers[0].announce("gandist_on_train_end", error=failure.value)
    (row,) = read(tmp_path / "health.jsonl")
    assert (row["step"], row["check"], row["state"], row["value"]) == (3, "not finite", "raised", None)
    assert row["text"] == str(failure.value)
    assert told == [(3, "not finite", True)]


class Asking(Watcher):
    """Asks for samples, and counts what it gets."""

    name: ClassVar[str] = "asking"

    every: int = 2
    count: int = 5

    @property
    def probe(self) -> Probe | None:
        return Probe(self.every, self.count)

    def watch(self, run: RunView) -> Any:
        return None


class Probed:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: dict[int, Tensor] = {}

    def watch(self, run: RunView) -> Announce:
        def announce(hook: str, **facts: Any) -> None:
            if hook == "gandist_on_probe":
                self.shown[facts["step"]] = facts["images"]

        return announce


def test_samples_are_drawn_for_whoever_asks(tmp_path: Path):
    probed = Probed()
    tracking = {"a": Asking(), "b": Asking(every=3, count=70), "health": {"enabled": False}}
    config = small(BaseLoss(), tracking=tracking)
    train(config, config.dataset.open(), Surroundings(tmp_path, watch=probed.watch))
    assert {step: len(images) for step, images in probed.shown.items()} == {2: 5, 3: 70, 4: 5, 6: 70}
    assert all(images.dtype == torch.uint8 for images in probed.shown.values())


def test_samples_are_those_of_the_trained_generator_and_of_fixed_latents(tmp_path: Path):
    probed, smoothed = Probed(), {"ema": {"half_life": 1_000_000, "ramp_up": 0.0}}
    config = small(BaseLoss(), tracking={"a": Asking()}, train=smoothed)
    train(config, config.dataset.open(), Surroundings(tmp_path, watch=probed.watch))
    flat, _ = checkpoint.load(tmp_path / "checkpoints" / "step-00000004")
    facts = config.dataset.open().facts
    for name, same in (("generator", True), ("smoothed", False)):
        generator = config.architecture.players(facts, 0)["generator"]
        generator.load_state_dict({k.partition(".")[2]: v for k, v in flat.items() if k.startswith(f"{name}.")})
        (expected,) = samples(generator, facts, seed=0, start=0, stop=5, device=torch.device("cpu"))
        assert torch.equal(probed.shown[4], expected) == same


def test_nothing_is_drawn_when_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("gandist.training.probes.samples", refuse)
    config = small(BaseLoss(), tracking={"health": {"enabled": False}})
    train(config, config.dataset.open(), Surroundings(tmp_path))


def weights(rank: int, world: int, folder: str, health: dict[str, Any], architecture: Any) -> None:
    dataset = RandomSamples(shape=(1, 16, 16), classes=0)
    config = small(BaseLoss(), dataset=dataset, architecture=architecture, tracking={"health": health})

    def watch(view: RunView) -> Announce:
        return Watchers(config, view, "rank 0", print).announce

    train(config, config.dataset.open(), Surroundings(Path(folder), rank=rank, world=world, watch=watch))


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_nobody_trains_otherwise_for_it(tmp_path: Path, world: int, norm: str):
    architecture = {"name": "dcgan", "width": 4, "latent": 8, "norm": norm}
    found = []
    for name, health in (("on", {"every": 1}), ("off", {"enabled": False})):
        (tmp_path / name).mkdir()
        given = (str(tmp_path / name), health, architecture)
        on_ranks(world, weights, *given) if world > 1 else weights(0, 1, *given)
        assert ("health/diversity" in read(tmp_path / name / "metrics.jsonl")[-1]) == (name == "on")
        last = tmp_path / name / "checkpoints" / "step-00000006"
        found.append([(last / "networks.safetensors").read_bytes(), checkpoint.load(last)[1]["optimizers"]])
    assert found[0][0] == found[1][0]
    assert str(found[0][1]) == str(found[1][1])


@pytest.mark.slow
def test_a_command_warns_stops_and_tells_weights_and_biases(tmp_path: Path):
    mapping = {
        "dataset": {"name": "gaussians"},
        # All points lie within a millionth of the ring's radius.
        "architecture": {"name": "mlp", "width": 8, "scale": 1e-6},
        "loss": "non-saturating",
        "train": {"images": 8000, "batch_size": 8, "log_every": 5},
        "cluster": {"workers": 0},
        "tracking": {"health": {"every": 10, "stop": ["collapse"]}, "wandb": {"mode": "offline"}},
    }
    (tmp_path / "point.yaml").write_text(yaml.safe_dump(mapping))
    ended = command("train", "point.yaml", cwd=tmp_path, WANDB_CONFIG_DIR=str(tmp_path / "settings"))
    assert ended.returncode == 3, ended.stderr
    folder = tmp_path / "runs" / "point"
    assert events(folder) == [(30, "collapse", "raised")]
    assert ended.stderr.count("warning: health: collapse at step 30: 64 samples are worth 1.0 different ones") == 1
    (segment,) = segments(folder)
    told = [record for record in records(segment) if record["type"] in ("alert", "history")]
    (alert,) = [record["alert"] for record in told if record["type"] == "alert"]
    assert (alert["title"], alert["level"]) == ("collapse", "WARN")
    assert CURES["collapse"] in alert["text"]
    rows = [record["history"]["item"] for record in told if record["type"] == "history"]
    diversity = [row["health/diversity"] for row in rows if "health/diversity" in row]
    # The stop is asked for from another thread: the run may look once more before it comes.
    assert len(diversity) >= 3
    assert diversity == pytest.approx([0.0] * len(diversity), abs=1e-9)


@pytest.mark.slow
def test_a_healthy_run_raises_no_alarm():
    script = [sys.executable, str(ROOT / "benchmarks" / "health.py"), "--configs", "ring8", "--seeds", "0"]
    ended = subprocess.run(script, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout.splitlines()[0])
    assert found["alarms"] == 0
    # It has looked.
    assert found["diversity"] > 0.1
