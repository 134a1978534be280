from __future__ import annotations

import re

import pytest

pytest.importorskip("matplotlib")

from evaluation.tables.plots import MARKERS, plot_frequency_ap
from tests.helpers import small_results

CLASSES = [("person", "head", 775), ("car", "medium", 60), ("cow", "tail", 4)]


def make_result(trainer="LMPT", seed=1, classes=CLASSES, **changes):
    rows = [
        {"name": name, "group": group, "train_count": count, "positives": 9, "AP": 70.0 + seed}
        for name, group, count in classes
    ]
    found = {"metrics": {"mAP": 71.0}, "per_class": rows} | changes
    return small_results.make_result(trainer, seed, **found)


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """Plot to SVG with text kept as text, and return the words in it."""
    from matplotlib import rcParams

    monkeypatch.setitem(rcParams, "svg.fonttype", "none")

    def plot(results):
        plot_frequency_ap(results, tmp_path / "plot.svg")
        return re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "plot.svg").read_text())

    return plot


def test_legend_and_title(texts):
    found = texts([make_result(), make_result(seed=2), make_result("CoOp")])
    assert "VOCLT, test split, softmax scores" in found
    assert {"LMPT (2 seeds)", "CoOp", "head", "medium", "tail"} <= set(found)


def test_legend_tells_methods_apart(texts):
    found = texts([make_result(), make_result(backbone="ViT-B/16")])
    assert {"RN50 LMPT", "ViT-B/16 LMPT"} <= set(found)


def test_points_are_means_over_seeds_and_undefined_classes_are_left_out(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn = []
    original = Axes.scatter

    def record(self, x, y, **kwargs):
        drawn.append((x, y))
        return original(self, x, y, **kwargs)

    monkeypatch.setattr(Axes, "scatter", record)
    results = [make_result(seed=1), make_result(seed=4)]
    for result in results:
        result["per_class"][2]["AP"] = None
    plot_frequency_ap(results, tmp_path / "plot.png")
    assert ((775,), (72.5,)) in drawn
    assert ((60,), (72.5,)) in drawn
    assert not any(4 in x for x, _ in drawn if isinstance(x, tuple))


def test_unseen_classes_are_shown(texts):
    assert "0" in texts([make_result(classes=[*CLASSES, ("unicorn", "tail", 0)])])
    assert "0" not in texts([make_result()])


def test_png(tmp_path):
    plot_frequency_ap([make_result()], tmp_path / "plots" / "ap.png")
    assert (tmp_path / "plots" / "ap.png").read_bytes()[:4] == b"\x89PNG"
    assert len(list((tmp_path / "plots").iterdir())) == 1


def test_errors(tmp_path):
    path = tmp_path / "plot.png"
    with pytest.raises(ValueError, match=r"one data set.*got \[\]"):
        plot_frequency_ap([], path)
    with pytest.raises(ValueError, match="one data set, split and score space.*COCOLT"):
        plot_frequency_ap([make_result(), make_result(dataset="COCOLT")], path)
    with pytest.raises(ValueError, match="training count"):
        plot_frequency_ap([make_result(classes=[("person", None, None)])], path)
    with pytest.raises(ValueError, match=f"at most {len(MARKERS)} methods"):
        plot_frequency_ap([make_result(f"T{i}") for i in range(len(MARKERS) + 1)], path)
    assert not path.exists()
