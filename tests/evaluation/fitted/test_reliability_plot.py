from __future__ import annotations

import re

import pytest
import torch

pytest.importorskip("matplotlib")

from evaluation.fitted.calibration import BINS, reliability
from evaluation.fitted.reliability_plot import plot_reliability


@pytest.fixture
def bins():
    probabilities = torch.linspace(0, 0.5, 200)
    targets = (torch.arange(200) % 3 == 0).int()
    return {
        "before": reliability(probabilities, targets),
        "after": reliability(probabilities + 0.5, targets),
    }


def test_lines_go_through_the_bins_that_hold_something(bins, tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn = {}
    original = Axes.plot

    def record(self, x, y, **kwargs):
        drawn[kwargs["label"]] = (x, y)
        return original(self, x, y, **kwargs)

    monkeypatch.setattr(Axes, "plot", record)
    plot_reliability(bins, "LMPT, val images", tmp_path / "new" / "plot.png")
    assert (tmp_path / "new" / "plot.png").read_bytes()[:4] == b"\x89PNG"
    x, y = drawn["before"]
    assert len(x) == (BINS + 1) // 2  # half of them, and the one that 0.5 lies in
    assert max(x) <= 0.5
    assert min(drawn["after"][0]) >= 0.5
    assert all(0 <= share <= 1 for share in y)


def test_legend_and_title(bins, tmp_path, monkeypatch):
    from matplotlib import rcParams

    monkeypatch.setitem(rcParams, "svg.fonttype", "none")
    plot_reliability(bins, "LMPT, val images", tmp_path / "plot.svg")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "plot.svg").read_text())
    assert {"LMPT, val images", "before", "after", "calibrated"} <= set(texts)
