"""Path length against closed forms, and explorations on ranks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from gandist_metrics.path_length import great_circle, straight
from stripes import Stripes
from tiny import config as tiny_config
from torch import Tensor, nn

from gandist import ConfigError, Noise, Source
from gandist.config.check import check
from gandist.config.resolve import resolve
from gandist.evaluation.evaluator import Evaluator
from gandist.evaluation.metrics import validate
from gandist.training.sampling import noise_of
from tests.ranks import on_ranks

pytestmark = pytest.mark.arithmetic

CPU = torch.device("cpu")


class Linear(nn.Module):
    """Points that are linear in the latents, in float64, and as linear in its styles."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.linspace(-1, 2, 10, dtype=torch.float64).sin().view(2, 5))

    def draw(self, noise: Noise, n: int) -> Tensor:
        return noise.normal(n, 5)

    def map(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return 3 * latents[:, None].expand(-1, 2, -1)

    def synthesize(self, styles: Tensor) -> Tensor:
        return styles.mean(1) @ self.matrix.T

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return latents @ self.matrix.T


class Painter(nn.Module):
    """Images with noise inside, of labels."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 144, bias=False)
        self.classes = nn.Embedding(3, 144)
        with torch.no_grad():
            self.layer.weight.copy_(torch.linspace(-1, 1, 144 * 4).view(144, 4).sin())
            self.classes.weight.copy_(torch.linspace(0, 1, 3 * 144).view(3, 144).cos())

    def draw(self, noise: Noise, n: int) -> Tensor:
        return noise.normal(n, 4)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        made = self.layer(latents) + self.classes(labels) + 0.3 * torch.randn(len(latents), 144)
        return made.tanh().view(-1, 1, 12, 12)


class InParts(Linear):
    """Draws two tensors."""

    def draw(self, noise: Noise, n: int) -> Any:
        return noise.normal(n, 5), noise.uniform(n, 1)


def ring() -> Source:
    return tiny_config().dataset.open()


def scores(generator: nn.Module, source: Source, count: int = 150, **fields: Any) -> dict[str, float]:
    section = {"metrics": [{"name": "path-length", **fields}], "features": "pixels", "count": count}
    return Evaluator(tiny_config(evaluate=section), source, CPU).measure({"generator": generator}, 3)


def drawn(name: str, count: int = 150, width: int = 5) -> np.ndarray:
    """What the metric draws, block by block."""
    spans = [(start, min(count, start + 64)) for start in range(0, count, 64)]
    streams = [noise_of(f"path-length {name}", 3, *span, CPU, torch.float64) for span in spans]
    rows = [noise.uniform(len(noise)) if name == "t" else noise.normal(len(noise), width) for noise in streams]
    return torch.cat(rows).numpy()


def trimmed(distances: np.ndarray, share: float = 0.01) -> float:
    low = np.percentile(distances, 100 * share, method="lower")
    high = np.percentile(distances, 100 * (1 - share), method="higher")
    return float(distances[(low <= distances) & (distances <= high)].mean())


def test_straight_paths_of_a_linear_generator_have_the_closed_form():
    generator = Linear()
    matrix = generator.matrix.detach().numpy()
    speed = (3 * (drawn("stop") - drawn("start")) @ matrix.T) ** 2
    # Points pass the feature space in single precision.
    found = scores(generator, ring(), latents="w", epsilon=0.01)["path_length"]
    assert found == pytest.approx(trimmed(speed.sum(1)), rel=1e-4)
    everything = scores(generator, ring(), latents="w", epsilon=0.01, trim=0)["path_length"]
    assert everything == pytest.approx(speed.sum(1).mean(), rel=1e-4)
    assert everything > 1.01 * found


def along(start: np.ndarray, stop: np.ndarray, t: np.ndarray) -> np.ndarray:
    """By a rotation in the plane of both, then the norms in which their coordinates mix."""
    a, b = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (start, stop))
    angle = np.arccos((a * b).sum(1))
    return np.stack(
        [
            (np.sin((1 - s) * w) * p + np.sin(s * w) * q) / np.sin(w)
            for p, q, s, w in zip(start, stop, t, angle, strict=True)
        ]
    )


@pytest.mark.parametrize("where", ["full", "end"])
def test_great_circles_of_a_linear_generator_have_the_closed_form(where: str):
    generator = Linear()
    matrix = generator.matrix.detach().numpy()
    start, stop = drawn("start"), drawn("stop")
    t = drawn("t") if where == "full" else np.zeros(len(start))
    # The derivative of the circle, by central differences in double precision.
    velocity = (along(start, stop, t + 1e-6) - along(start, stop, t - 1e-6)) / 2e-6
    found = scores(generator, ring(), where=where, epsilon=1e-3)["path_length"]
    assert found == pytest.approx(trimmed(((velocity @ matrix.T) ** 2).sum(1)), rel=5e-3)


def test_ways_begin_and_end_where_they_should():
    start, stop = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0)).double()
    stop[0] = 2 * start[0]
    for way in (straight, great_circle):
        torch.testing.assert_close(way(start, stop, torch.zeros(6).double()), start)
        torch.testing.assert_close(way(start, stop, torch.ones(6).double()), stop)
    half = great_circle(
        start / start.norm(dim=1, keepdim=True), stop / stop.norm(dim=1, keepdim=True), torch.full((6,), 0.5)
    )
    assert half[1:].norm(dim=1).tolist() == pytest.approx([1.0] * 5)


def test_images_are_not_rounded_and_noise_inside_stands_still():
    fine, coarse = (scores(Painter(), Stripes(), epsilon=epsilon)["path_length"] for epsilon in (1e-4, 1e-2))
    # Rounded to bytes nearly no image would differ after a step of 1e-4, and with new noise all of them.
    assert fine == pytest.approx(coarse, rel=0.02)
    assert 1 < fine < 1000


def test_generators_without_the_latents_are_refused():
    with pytest.raises(ConfigError, match=r"evaluate.metrics: path-length needs latents of one tensor.*latents: w"):
        scores(InParts(), ring())
    section = {"metrics": ["path-length"], "features": "pixels"}
    evaluator = Evaluator(tiny_config(evaluate=section), ring(), CPU)
    with pytest.raises(ConfigError, match="path-length looks at a generator's latents, not at pictures"):
        evaluator.score([torch.zeros(4, 2)])
    given: dict[str, Any] = {
        "run": {"name": "paths"},
        "dataset": {"name": "digits", "size": 32},
        "architecture": {"name": "dcgan"},
        "loss": {"name": "hinge"},
        "evaluate": {"every": 10, "metrics": [{"name": "path-length", "latents": "w"}]},
    }
    with pytest.raises(ConfigError, match="needs a generator that maps latents to styles; set latents: z"):
        check(resolve(given), None, validate)
    style = {"name": "stylegan2", "channel_base": 64, "channel_max": 8}
    check(resolve({**given, "architecture": style}), None, validate)


def test_the_protocol_says_how_it_was_measured():
    section = {"metrics": ["path-length", "frechet"], "features": "pixels", "count": 64}
    evaluator = Evaluator(tiny_config(evaluate=section), ring(), CPU)
    found = evaluator.measure({"generator": Linear()}, 0)
    assert list(found) == ["path_length", "frechet", "frechet_real"]
    settings = {"features": "pixels", "latents": "z", "where": "full", "epsilon": 1e-4, "trim": 0.01}
    assert evaluator.protocol()["metrics"] == {"path-length": settings, "frechet": {"features": "pixels"}}


def _measure_on_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    for world in (3, 2):
        if rank >= world:
            break
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting-{world}", rank=rank, world_size=world)
        Path(folder, f"{world}-{rank}.json").write_text(json.dumps(scores(Painter(), Stripes())))
        dist.barrier()
        dist.destroy_process_group()
    # Without the interpreter's teardown, in which a thread of gloo that still runs aborts the process now and then.
    os._exit(0)


def test_the_path_length_is_the_same_on_one_two_and_three_ranks(tmp_path: Path):
    on_ranks(3, _measure_on_rank, str(tmp_path))
    alone = scores(Painter(), Stripes())
    for world in (2, 3):
        for rank in range(world):
            assert json.loads((tmp_path / f"{world}-{rank}.json").read_text()) == pytest.approx(alone, rel=1e-6)
