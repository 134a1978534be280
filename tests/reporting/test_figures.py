from __future__ import annotations

import re

import numpy as np
import pytest
import torch

Axes = pytest.importorskip("matplotlib.axes").Axes

from reporting.confusion import confusion
from reporting.curves import precision_recall
from reporting.figures import (
    COLOURS,
    DASHES,
    MARKERS,
    _line,
    draw_confusion,
    draw_histogram,
    draw_histograms,
    draw_learning,
    draw_precision_recall,
    learning_names,
)
from reporting.methods import Method, read_methods
from tests.helpers.runs.saved_runs import made_scores, write_run

HOSTILE = ["<script>alert(1)</script>", r"$\frac{", "_a & b"]


@pytest.fixture
def methods(tmp_path):
    for trainer in ("CoOp", "LMPT"):
        logits, targets = made_scores(30, 3, len(trainer))
        paths = [f"{i}.jpg" for i in range(30)]
        write_run(tmp_path / trainer / "seed1", HOSTILE, logits, targets, paths, trainer)
    return read_methods([tmp_path])


@pytest.fixture
def recorded(monkeypatch):
    """Arguments of the calls of a method of matplotlib's axes."""

    def record(name):
        calls, original = [], getattr(Axes, name)

        def call(self, *args, **kwargs):
            calls.append(args)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Axes, name, call)
        return calls

    return record


def test_curves_are_drawn_as_computed(methods, tmp_path, recorded):
    calls = recorded("step")
    unscored = Method("old", methods[0].runs, None, "there are no scores")
    draw_precision_recall(tmp_path / "pr.svg", [*methods, unscored], 1)
    assert len(calls) == 2
    for method, (recall, precision) in zip(methods, calls, strict=True):
        ranking = method.ranking
        expected = precision_recall(ranking.scores[:, 1], ranking.targets[:, 1])
        np.testing.assert_array_equal(recall[1:], expected[0])
        np.testing.assert_array_equal(precision[1:], expected[1])
        assert recall[0] == 0 and precision[0] == precision[1]
    drawn = (tmp_path / "pr.svg").read_text()
    draw_precision_recall(tmp_path / "again.svg", [*methods, unscored], 1)
    assert (tmp_path / "again.svg").read_text() == drawn


def test_histograms_are_shares_of_present_and_absent(recorded):
    from matplotlib.figure import Figure

    calls = recorded("stairs")
    scores, targets = made_scores(80, 1)
    draw_histogram(Figure().subplots(), scores[targets == 1], scores[targets == 0])
    for (shares, edges), known in zip(calls, (0, 1), strict=True):
        values = scores[targets == known].tolist()
        for share, low, high in zip(shares, edges[:-1], edges[1:], strict=True):
            inside = [low <= v < high or v == high == edges[-1] for v in values]
            assert share == pytest.approx(sum(inside) / len(values))


def test_confusions_are_drawn_as_computed(methods, tmp_path, recorded):
    calls = recorded("imshow")
    found = confusion(methods[0].ranking.scores, methods[0].ranking.targets)
    draw_confusion(tmp_path / "matrix.svg", found, HOSTILE)
    level = torch.from_numpy(calls[0][0])
    off = ~torch.eye(3, dtype=torch.bool)
    torch.testing.assert_close(level[off], 100 * found.level[off])
    texts = re.findall(r">([^<]*)</text>", (tmp_path / "matrix.svg").read_text())
    assert {"&lt;script&gt;alert(1)&lt;/script&gt;", r"$\frac{", "_a &amp; b"} <= set(texts)


def test_every_method_has_a_line_of_its_own():
    lines = [_line(i) for i in range(len(MARKERS))]
    styles = {(line["color"], line["marker"]) for line in lines}
    shapes = {(str(line["linestyle"]), line["marker"]) for line in lines}
    assert len(styles) == len(shapes) == len(MARKERS)
    assert np.gcd(len(COLOURS), len(DASHES)) == 1


def test_learning_curves_have_several_points(methods, tmp_path, recorded):
    x = np.arange(3)
    curves = [[{"train/loss": (x, x / 2), "test/mAP": (x[:1], x[:1])}], [{"val/mAP": (x, 2 * x)}]]
    assert learning_names(curves) == ["train/loss", "val/mAP"]
    calls = recorded("plot")
    draw_learning(tmp_path / "loss.svg", ["a", "_b"], curves, "val/mAP")
    ((steps, values),) = calls
    assert steps is x and values.tolist() == [0, 2, 4]
    assert " _b" in (tmp_path / "loss.svg").read_text()


def test_thresholds_among_the_scores_are_marked(methods, tmp_path, recorded):
    calls = recorded("axvline")
    draw_histograms(tmp_path / "h.svg", methods, None)
    assert calls == [(0.0,), (0.0,)]  # the logit of one half
