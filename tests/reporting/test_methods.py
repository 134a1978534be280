from __future__ import annotations

import math

import pytest
import torch

from evaluation.results.saved_scores import load_scores, rank_scores, save_scores
from evaluation.tables.plots import MARKERS
from reporting.methods import read_methods, threshold_in
from tests.helpers.runs.saved_runs import made_scores, write_run

NAMES = ["cat", "dog", "tv"]


@pytest.fixture
def write(tmp_path):
    """Write a run of some trainer and seed below the test's folder."""

    def written(trainer="LMPT", seed=1, names=NAMES, **more):
        logits, targets = made_scores(20, len(names), seed)
        paths = [f"{i}.jpg" for i in range(20)]
        folder = tmp_path / trainer / f"seed{seed}"
        return write_run(folder, names, logits, targets, paths, trainer, seed, **more)

    return written


@pytest.mark.parametrize("score", ["logit", "softmax"])
def test_runs_over_seeds_are_one_method(write, tmp_path, score):
    for trainer, seed in (("CoOp", 1), ("CoOp", 2), ("ZeroshotCLIP", 1)):
        write(trainer, seed, score=score)
    coop, zero_shot = read_methods([tmp_path])
    assert [run["seed"] for run in coop.runs] == [1, 2]
    assert (coop.is_zero_shot, zero_shot.is_zero_shot) == (False, True)
    aps = [[row["AP"] for row in run["per_class"]] for run in coop.runs]
    assert coop.precisions == pytest.approx([(a + b) / 2 for a, b in zip(*aps, strict=True)])
    saved = load_scores(coop.folder / "scores.npz")
    expected = saved.logits.double()
    expected = expected.softmax(dim=1).log() if score == "softmax" else expected
    torch.testing.assert_close(coop.ranking.scores, expected)
    assert coop.ranking.paths == saved.paths


def test_absent_scores_are_missed_with_the_command_that_writes_them(write, tmp_path):
    folder = write()
    (folder / "scores.npz").rename(tmp_path / "kept.npz")
    (method,) = read_methods([folder])
    assert method.ranking is None
    assert f"--model-dir {folder} --output-dir {folder} TEST.SAVE_SCORES test" in method.reason
    (tmp_path / "kept.npz").rename(folder / "scores_eval.npz")  # as that command names them
    assert read_methods([folder])[0].ranking is not None


def test_scores_of_another_evaluation_are_not_shown(write):
    folder = write()
    saved = load_scores(folder / "scores.npz")
    save_scores(folder / "scores.npz", -saved.logits, saved.targets, saved.paths)
    (method,) = read_methods([folder])
    assert method.ranking is None and "belongs to another evaluation" in method.reason
    (folder / "scores.npz").write_bytes(b"PK")
    assert "scores.npz" in read_methods([folder])[0].reason


def test_runs_that_do_not_go_together_are_refused(write, tmp_path):
    folders = [write("CoOp"), write("LMPT", score="softmax"), write("PVLR", names=NAMES[:2])]
    with pytest.raises(ValueError, match=r"one data set.*logit scores.*softmax scores"):
        read_methods(folders[:2])
    with pytest.raises(ValueError, match=r"2 list\(s\) of classes"):
        read_methods(folders[::2])
    with pytest.raises(FileNotFoundError, match="no results.json"):
        (tmp_path / "empty").mkdir()
        read_methods([tmp_path / "empty"])
    more = [write(f"T{i}") for i in range(len(MARKERS) + 1)]
    with pytest.raises(ValueError, match=f"at most {len(MARKERS)} methods"):
        read_methods(more)


def test_thresholds_are_those_of_the_scores():
    logits = torch.tensor([[-1.0, 0.5, 3.0]])
    half = {"value": 0.3, "of": "whatever"}
    cut = threshold_in("logit", half)
    assert torch.equal(rank_scores(logits, "logit") > cut, logits.double().sigmoid() > 0.3)
    assert threshold_in("softmax", half) == pytest.approx(math.log(0.3))
    assert threshold_in("logit", None) is None
