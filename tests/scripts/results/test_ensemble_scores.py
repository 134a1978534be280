from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from evaluation.results.reports import load_results
from evaluation.results.saved_scores import save_scores
from evaluation.tables.result_tables import results_table
from scripts import ensemble_scores

GROUPS = ["head", "medium", "tail", "tail"]
NAMES = ["cat", "dog", "owl", "emu"]
PATHS = [f"/data/{i}.jpg" for i in range(40)]


def make_run(folder, seed, score="logit", **changes):
    """Write what a run leaves behind; its scores know something about the targets."""
    rng = np.random.default_rng(seed)
    targets = torch.from_numpy(
        (np.random.default_rng(99).random((40, 4)) < 0.4).astype(np.int8)
    )  # the same in every run
    targets[:, 3] = 0  # a class without positives
    logits = torch.from_numpy(rng.normal(size=(40, 4)) + targets.numpy() + 25.0).float()
    train = torch.from_numpy(rng.normal(size=(30, 4)) * (seed + 1) + 25.0).float()
    result = {
        "trainer": f"Method{seed}",
        "dataset": "VOCLT",
        "backbone": "RN50",
        "config": "rn50",
        "seed": 1,
        "split": "test",
        "selection": "last_step",
        "score": score,
        "metrics": {"mAP": 1.0},
        "per_class": [
            {"name": n, "train_count": 5, "group": g, "positives": 3, "AP": None}
            for n, g in zip(NAMES, GROUPS, strict=True)
        ],
    } | changes
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(result))
    save_scores(folder / "scores.npz", logits, targets, PATHS)
    save_scores(folder / "scores_train.npz", train, torch.zeros(30, 4), PATHS[:30])
    return folder, logits.double(), train.double(), targets


@pytest.fixture
def run(capsys):
    """Run the script: what it printed, or the error it stopped with."""

    def run(*words):
        try:
            ensemble_scores.main([str(word) for word in words])
        except SystemExit as end:
            assert end.code == 2
            return capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_the_ensemble_is_the_naive_one(run, tmp_path):
    a, logits_a, train_a, targets = make_run(tmp_path / "a", 1, protocol="partial 10%")
    b, logits_b, train_b, _ = make_run(tmp_path / "b", 2, "sigmoid", protocol="zero-shot")
    printed = run(a, b, "--weight", 0.3, "--output", tmp_path / "both")

    def scaled(values, train):
        return (values - train.min()) / (train.max() - train.min())

    both = 0.7 * scaled(logits_a, train_a)
    both += 0.3 * scaled(torch.sigmoid(logits_b), torch.sigmoid(train_b))
    expected = [100 * average_precision_score(targets[:, c], both[:, c]) for c in range(3)]
    (result,) = load_results(tmp_path / "both")
    assert [row["AP"] for row in result["per_class"]] == pytest.approx([*expected, None])
    assert result["metrics"] == pytest.approx(
        {
            "mAP": np.mean(expected),
            "mAP_head": expected[0],
            "mAP_medium": expected[1],
            "mAP_tail": expected[2],  # the class without positives is left out
        }
    )
    assert result["trainer"] == "Method1 + Method2" and result["backbone"] == "RN50"
    assert result["protocol"] == "partial 10% + zero-shot"
    assert "Method1 + Method2" in results_table([result])
    assert f"{np.mean(expected):.2f}" in printed


@pytest.mark.parametrize(("weight", "own"), [(0, "a"), (1, "b")])
def test_all_weight_on_one_run_gives_its_own_score(run, tmp_path, weight, own):
    make_run(tmp_path / "a", 1, "softmax")
    make_run(tmp_path / "b", 2)
    printed = run(tmp_path / "a", tmp_path / "b", "--weight", weight)
    rows = {row.split()[0].rpartition("/")[2]: row.split()[1:] for row in printed.splitlines()}
    assert rows["both"] == rows[own]
    assert rows["a"] != rows["b"]


def test_scaling_ignores_the_test_images(tmp_path):
    """An outlier among the test images must not change how the others are weighed."""
    folder, logits, *_ = make_run(tmp_path / "a", 1)
    before = ensemble_scores.load_run(folder).scores
    logits[0] = 1e4
    save_scores(folder / "scores.npz", logits, torch.zeros(40, 4), PATHS)
    torch.testing.assert_close(ensemble_scores.load_run(folder).scores[1:], before[1:])


def test_other_folders_of_the_same_pictures_are_fine(run, tmp_path):
    make_run(tmp_path / "a", 1)
    folder, logits, _, targets = make_run(tmp_path / "b", 2)
    moved = [f"/elsewhere/{Path(path).name}" for path in PATHS]
    save_scores(folder / "scores.npz", logits, targets, moved)
    assert "both" in run(tmp_path / "a", folder)


def other_images(folder, logits, targets):
    save_scores(folder / "scores.npz", logits, targets, PATHS[::-1])


def other_targets(folder, logits, targets):
    save_scores(folder / "scores.npz", logits, 1 - targets, PATHS)


def no_training_scores(folder, logits, targets):
    (folder / "scores_train.npz").unlink()


def equal_training_scores(folder, logits, targets):
    save_scores(folder / "scores_train.npz", torch.ones(2, 4), torch.ones(2, 4), PATHS[:2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_images, "tested on different images"),
        (other_targets, "with different labels"),
        (no_training_scores, "run again with TEST.SAVE_SCORES all"),
        (equal_training_scores, "all training scores are 1"),
    ],
)
def test_what_does_not_fit_is_refused(run, tmp_path, change, message):
    make_run(tmp_path / "a", 1)
    folder, logits, _, targets = make_run(tmp_path / "b", 2)
    change(folder, logits, targets)
    assert message in run(tmp_path / "a", folder)


def test_other_classes_and_other_evaluations_are_refused(run, tmp_path):
    make_run(tmp_path / "a", 1)
    rows = [{"name": n, "group": "head", "AP": None} for n in reversed(NAMES)]
    make_run(tmp_path / "b", 2, per_class=rows)
    assert "different classes" in run(tmp_path / "a", tmp_path / "b")
    make_run(tmp_path / "c", 3, score=None, per_class=[])
    assert "no evaluation of several labels" in run(tmp_path / "a", tmp_path / "c")
    assert "must be in [0, 1]" in run(tmp_path / "a", tmp_path / "a", "--weight", 2)
