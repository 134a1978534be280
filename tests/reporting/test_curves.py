from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from evaluation.metrics.average_precision import average_precision
from reporting.curves import learning_curves, precision_recall
from tests.helpers.runs.saved_runs import made_scores


@pytest.mark.parametrize("seed", range(3))
def test_curves_are_those_of_scikit_learn(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    logits, targets = made_scores(60, 1, seed)
    scores, targets = logits[:, 0], targets[:, 0]
    known = targets != -1
    precision, recall, _ = metrics.precision_recall_curve(targets[known], scores[known])
    rises = np.flatnonzero(recall[:-1] > recall[1:])[::-1]
    own_recall, own_precision = precision_recall(scores, targets)
    np.testing.assert_allclose(own_recall, recall[rises])
    np.testing.assert_allclose(own_precision, precision[rises])
    area = (np.diff(own_recall, prepend=0) * own_precision).sum()
    assert area == pytest.approx(average_precision(scores[:, None], targets[:, None]).item())


def test_a_class_without_positives_has_no_curve():
    recall, precision = precision_recall(torch.randn(5), torch.zeros(5))
    assert len(recall) == len(precision) == 0


def test_learning_curves_are_the_scalars_written_and_later_values_count(tmp_path):
    for start, offset in ((0, 0.0), (2, 0.25)):  # a run, and its resumption from step 2
        writer = SummaryWriter(tmp_path / "tensorboard", filename_suffix=f".{start}")
        for step in range(start, 4):
            writer.add_scalar("train/loss", 0.5 * step + offset, step)
        writer.close()
    (name,), (steps, values) = (found := learning_curves(tmp_path)), found["train/loss"]
    assert name == "train/loss"
    assert steps.tolist() == [0, 1, 2, 3]
    assert values.tolist() == [0, 0.5, 1.25, 1.75]
    newer = next((tmp_path / "tensorboard").glob("*.2"))
    newer.write_bytes(newer.read_bytes()[:-1])  # its last value is lost
    (tmp_path / "events.out.tfevents.folder").mkdir()
    assert learning_curves(tmp_path)["train/loss"][1].tolist() == [0, 0.5, 1.25, 1.5]
    assert learning_curves(tmp_path / "elsewhere") == {}
