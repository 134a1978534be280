from __future__ import annotations

import numpy as np
import pytest
import torch
from dassl.evaluation import build_evaluator
from dassl.metrics import compute_accuracy, compute_distance_matrix
from sklearn.metrics import confusion_matrix, f1_score

from . import fixed_in_builtin
from .toy import toy_cfg

TRUE = [0, 0, 0, 1, 1, 2]
PREDICTED = [0, 0, 1, 1, 3, 0]


def evaluator(tmp_path, *options):
    cfg = toy_cfg(tmp_path, *options)
    return build_evaluator(cfg, lab2cname=dict(enumerate("abcd")))


def process(evaluator, true=TRUE, predicted=PREDICTED):
    scores = torch.eye(4)[predicted]
    evaluator.process(scores[:2], torch.tensor(true[:2]))
    evaluator.process(scores[2:], torch.tensor(true[2:]))
    return evaluator.evaluate()


def test_results_and_report(tmp_path, capsys):
    results = process(evaluator(tmp_path))
    assert list(results) == ["accuracy", "error_rate", "macro_f1"]
    assert results["accuracy"] == pytest.approx(50.0)
    assert results["error_rate"] == pytest.approx(50.0)
    f1 = 100 * f1_score(TRUE, PREDICTED, average="macro", labels=np.unique(TRUE))
    assert results["macro_f1"] == pytest.approx(f1)
    assert capsys.readouterr().out == (
        "=> result\n"
        "* total: 6\n"
        "* correct: 3\n"
        "* accuracy: 50.0%\n"
        "* error: 50.0%\n"
        f"* macro_f1: {f1:.1f}%\n"
    )


@pytest.mark.parametrize("seed", range(3))
def test_f1_against_scikit_learn(tmp_path, seed):
    rng = np.random.default_rng(seed)
    true, predicted = rng.integers(0, 4, 30).tolist(), rng.integers(0, 4, 30).tolist()
    f1 = 100 * f1_score(true, predicted, average="macro", labels=np.unique(true))
    assert process(evaluator(tmp_path), true, predicted)["macro_f1"] == pytest.approx(f1)


def test_reset_forgets(tmp_path):
    judge = evaluator(tmp_path)
    process(judge)
    judge.reset()
    assert process(judge, [1, 1], [1, 1])["accuracy"] == 100.0


def test_per_class_result(tmp_path, capsys):
    results = process(evaluator(tmp_path, "TEST.PER_CLASS_RESULT", True))
    assert results["perclass_accuracy"] == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)
    printed = capsys.readouterr().out
    assert "=> per-class result\n* class: 0 (a)\ttotal: 3\tcorrect: 2\tacc: 66.7%\n" in printed
    assert "* class: 2 (c)\ttotal: 1\tcorrect: 0\tacc: 0.0%\n* average: 38.9%\n" in printed


def test_confusion_matrix(tmp_path):
    judge = evaluator(tmp_path, "TEST.COMPUTE_CMAT", True)
    (tmp_path / "output").mkdir()
    process(judge)
    saved = torch.load(tmp_path / "output" / "cmat.pt", weights_only=False)
    expected = confusion_matrix(TRUE, PREDICTED, normalize="true")
    assert np.asarray(saved) == pytest.approx(expected)


@fixed_in_builtin("numpy values, which torch refuses to load")
def test_results_are_plain_values(tmp_path):
    judge = evaluator(tmp_path, "TEST.COMPUTE_CMAT", True, "TEST.PER_CLASS_RESULT", True)
    (tmp_path / "output").mkdir()
    results = process(judge)
    torch.load(tmp_path / "output" / "cmat.pt", weights_only=True)
    assert {type(value) for value in results.values()} == {float}


def test_multi_label_targets_are_refused(tmp_path):
    with pytest.raises((RuntimeError, ValueError)):
        evaluator(tmp_path).process(torch.rand(3, 4), torch.ones(3, 4))


def test_compute_accuracy():
    scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]])
    (top1,) = compute_accuracy(scores, torch.tensor([2, 0]))
    assert top1.tolist() == [50.0]
    assert compute_accuracy([scores], torch.tensor([1, 0]))[0].item() == 100.0


@fixed_in_builtin("takes a view of a tensor that is not contiguous")
def test_compute_accuracy_of_several_k():
    scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]])
    top1, top2 = compute_accuracy(scores, torch.tensor([2, 1]), topk=(1, 2))
    assert (top1.tolist(), top2.tolist()) == ([0.0], [100.0])


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_distances_against_loops(metric):
    torch.manual_seed(0)
    first, second = torch.randn(3, 5), torch.randn(4, 5)

    def distance(a, b):
        if metric == "euclidean":
            return float((a - b).square().sum())
        return 1 - float(a @ b / (a.norm() * b.norm()))

    naive = [[distance(a, b) for b in second] for a in first]
    found = compute_distance_matrix(first, second, metric)
    assert found.flatten().tolist() == pytest.approx(sum(naive, []), abs=1e-4)


def test_unknown_distance():
    with pytest.raises(ValueError, match="Unknown distance metric: manhattan"):
        compute_distance_matrix(torch.ones(1, 2), torch.ones(1, 2), "manhattan")
    with pytest.raises((AssertionError, ValueError)):
        compute_distance_matrix(torch.ones(1, 2), torch.ones(1, 3))
