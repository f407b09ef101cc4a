"""The ROC curve of anomalies, against counting, and its picture."""

from __future__ import annotations

import pytest
import torch
from gandist_metrics.anomalies import Anomalies
from gandist_metrics.roc import BOTTOM, LEFT, RIGHT, SIDE, TOP, drawn, roc
from torch import Tensor

from gandist import Facts, auroc

FACTS = Facts((2,), 0, 10, "x")


def some(ties: bool) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(80, generator=generator, dtype=torch.float64)
    return scores.round() if ties else scores, torch.rand(80, generator=generator) < 0.3


@pytest.mark.parametrize("ties", [False, True])
def test_each_point_is_what_a_threshold_flags(ties: bool):
    scores, positive = some(ties)
    false, true = roc(scores, positive)
    thresholds = sorted(set(scores.tolist()), reverse=True)
    for shares, kind in ((false, ~positive), (true, positive)):
        expected = [0.0, *(float((scores >= threshold)[kind].double().mean()) for threshold in thresholds)]
        assert shares.tolist() == pytest.approx(expected)
    assert float(torch.trapezoid(true, false)) == pytest.approx(auroc(scores, positive), abs=1e-12)


def test_the_curve_equals_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is a benchmark's, and not installed")
    scores, positive = some(ties=True)
    false, true, _ = metrics.roc_curve(positive, scores, drop_intermediate=False)
    ours = roc(scores, positive)
    assert ours[0].tolist() == pytest.approx(false)
    assert ours[1].tolist() == pytest.approx(true)


def blue(picture: Tensor, x: float, y: float) -> bool:
    """Whether the curve passes there."""
    column, row = round(LEFT + x * SIDE), round(TOP + (1 - y) * SIDE)
    red, _, strong = picture[:, row - 2 : row + 3, column - 2 : column + 3].int().flatten(1)
    return bool((strong - red > 80).any())


def test_the_picture_shows_the_curve_where_it_is():
    false, true = torch.tensor([0.0, 0.1, 0.5, 1.0]), torch.tensor([0.0, 0.7, 0.8, 1.0])
    picture = drawn(false, true, 0.8, 100, 7)
    assert picture.dtype == torch.uint8
    assert picture.shape == (3, TOP + SIDE + BOTTOM, LEFT + SIDE + RIGHT)
    assert all(blue(picture, x, y) for x, y in ((0.05, 0.35), (0.1, 0.7), (0.3, 0.75), (0.75, 0.9)))
    assert not any(blue(picture, x, y) for x, y in ((0.5, 0.5), (0.3, 0.9), (0.9, 0.2)))
    # Axes have numbers and words, and lines are smooth: more than the colours of what is drawn.
    assert (picture[:, TOP + SIDE + 4 :] < 128).any()
    assert len(picture.flatten(1).unique(dim=1).T) > 30


def test_anomalies_have_a_picture_where_there_are_both_kinds():
    scores, positive = some(ties=False)
    picture = Anomalies().picture({"scores": scores, "anomalous": positive}, FACTS)
    assert picture is not None
    assert torch.equal(picture, drawn(*roc(scores, positive), auroc(scores, positive), 80, int(positive.sum())))
    for alike in (torch.zeros(80, dtype=torch.bool), torch.ones(80, dtype=torch.bool)):
        assert Anomalies().picture({"scores": scores, "anomalous": alike}, FACTS) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_scores_of_broken_networks_are_drawn_too(value: float):
    scores, positive = torch.full((6,), value), torch.tensor([True, False] * 3)
    assert Anomalies().picture({"scores": scores, "anomalous": positive}, FACTS) is not None
