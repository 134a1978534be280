from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.special import logsumexp
from sklearn.metrics import average_precision_score

from evaluation.comparing.softmax_plot import SHARES, plot_softmax, softmax_path
from evaluation.results.reports import load_results
from evaluation.results.saved_scores import load_scores
from tests.helpers.runs.scored_runs import write_run

LINK = {"centre": 1.0, "width": 0.5}


@pytest.fixture
def runs(tmp_path):
    for trainer, strength, link in (("LMPT", 2.0, LINK), ("CoOp", 1.0, None)):
        for seed in (1, 2):
            write_run(tmp_path / trainer / f"seed{seed}", trainer, seed, strength, link=link)
    return load_results(tmp_path)


def mean_precision(scores, targets):
    columns = [c for c in range(targets.shape[1]) if targets[:, c].any()]
    return 100 * np.mean([average_precision_score(targets[:, c], scores[:, c]) for c in columns])


def test_the_way_from_logits_to_a_softmax_is_that_of_numpy(runs):
    run = next(run for run in runs if run["trainer"] == "LMPT")
    saved = load_scores(run["path"].replace("results.json", "scores.npz"))
    logits, targets = saved.logits.double().numpy(), saved.targets.numpy()
    found, linked = softmax_path(run)
    level = logsumexp(logits, axis=1, keepdims=True)
    expected = [mean_precision(logits - share * level, targets) for share in SHARES]
    assert found == pytest.approx(expected)
    bounded = 1 / (1 + np.exp(-(logits - 1.0) / 0.5))
    level = logsumexp(bounded, axis=1, keepdims=True)
    assert linked == pytest.approx(mean_precision(bounded - level, targets))


def test_it_is_drawn_with_links_where_there_are_any(runs, tmp_path):
    pytest.importorskip("matplotlib")
    plot_softmax(runs, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        assert image.size == (1200, 675)


def test_several_splits_are_refused(runs, tmp_path):
    runs[0] = {**runs[0], "split": "val"}
    with pytest.raises(ValueError, match="one data set and split"):
        plot_softmax(runs, tmp_path / "plot.png")
