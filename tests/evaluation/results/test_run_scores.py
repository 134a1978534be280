from __future__ import annotations

import json

import pytest
import torch

from evaluation.results.reports import load_results
from evaluation.results.run_scores import load_run_scores
from evaluation.results.saved_scores import save_scores
from tests.helpers.runs.scored_runs import write_run


@pytest.mark.parametrize("score", ["logit", "softmax"])
def test_scores_lie_beside_their_figures(score, tmp_path):
    logits = write_run(tmp_path / "run", "CoOp", 1, 1.0, score)
    (run,) = load_results(tmp_path)
    torch.testing.assert_close(load_run_scores(run).logits, logits)
    (tmp_path / "run" / "scores.npz").rename(tmp_path / "run" / "scores_eval.npz")
    torch.testing.assert_close(load_run_scores(run).logits, logits)


def test_absent_and_other_scores_are_refused_with_the_command(tmp_path):
    write_run(tmp_path / "run", "CoOp", 1, 1.0)
    write_run(tmp_path / "other", "LMPT", 1, 2.0)
    (run,) = load_results(tmp_path / "run")
    (tmp_path / "other" / "scores.npz").replace(tmp_path / "run" / "scores.npz")
    command = f"train.py --eval-only --model-dir {tmp_path / 'run'} --output-dir"
    with pytest.raises(ValueError, match=f"scores.npz gives other figures.*{command}"):
        load_run_scores(run)
    (tmp_path / "run" / "scores.npz").unlink()
    with pytest.raises(FileNotFoundError, match=f"There is no scores.npz in .*{command}"):
        load_run_scores(run)


def test_scores_of_other_classes_and_single_labels_are_refused(tmp_path):
    write_run(tmp_path / "run", "CoOp", 1, 1.0)
    (run,) = load_results(tmp_path)
    save_scores(tmp_path / "run" / "scores.npz", torch.zeros(2, 3), torch.ones(2, 3), ["a", "b"])
    with pytest.raises(ValueError, match="other figures"):
        load_run_scores(run)
    path = tmp_path / "run" / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"per_class": []}))
    (run,) = load_results(tmp_path)
    with pytest.raises(ValueError, match="several labels"):
        load_run_scores(run)
