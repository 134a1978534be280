from __future__ import annotations

import re

import pytest

pytest.importorskip("matplotlib")

from evaluation.comparing.comparison import compare
from evaluation.comparing.difference_plot import plot_differences
from evaluation.results.reports import load_results
from tests.helpers.runs.scored_runs import write_run


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for trainer in ("LMPT", "CoOp"):
        for seed in (1, 2):
            write_run(folder / trainer / "tiny" / f"seed{seed}", trainer, seed, 1.0)
    return compare(load_results(folder), "CoOp", 100)


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """Plot to SVG with text kept as text, and return the words in it."""
    from matplotlib import rcParams

    monkeypatch.setitem(rcParams, "svg.fonttype", "none")

    def plot(*words):
        plot_differences(words[0], tmp_path / "plot.svg", *words[1:])
        return re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "plot.svg").read_text())

    return plot


def test_rows_are_groups_or_classes(compared, texts):
    found = texts(compared)
    assert {"all", "head", "medium", "tail", "LMPT", "logit scores", "softmax scores"} <= set(found)
    assert "difference to CoOp in points of average precision" in found
    assert any("over seeds and images" in text for text in found)
    names = texts(compared, True)
    assert {"cat", "dog", "owl", "yak"} <= set(names) and "medium" not in names
    assert names.index("cat") < names.index("dog") < names.index("yak")


def test_lines_are_the_intervals(compared, tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn = []
    original = Axes.plot

    def record(self, x, *args, **kwargs):
        drawn.append(list(x))
        return original(self, x, *args, **kwargs)

    monkeypatch.setattr(Axes, "plot", record)
    plot_differences(compared, tmp_path / "plot.png")
    tail = compared[0].groups["softmax"]["tail"]
    for line in ([tail.mean], [tail.seeds.low, tail.seeds.high], [tail.both.low, tail.both.high]):
        assert line in drawn
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"


def test_what_does_not_fit_a_plot_is_refused(compared, tmp_path):
    from dataclasses import replace

    other = replace(compared[0], dataset="COCOLT")
    with pytest.raises(ValueError, match="one data set and split, got COCOLT test, VOCLT test"):
        plot_differences([*compared, other], tmp_path / "plot.png")
    with pytest.raises(ValueError, match="at most 14 differences, got 15"):
        plot_differences(compared * 15, tmp_path / "plot.png")
    assert not list(tmp_path.iterdir())
