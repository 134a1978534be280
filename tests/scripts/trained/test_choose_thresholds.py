from __future__ import annotations

import json
import shutil

import pytest
import torch

import train
from evaluation.metrics.threshold_metrics import threshold_metrics
from evaluation.results.saved_scores import load_scores
from prediction import Predictor, load_run
from scripts import choose_thresholds
from tests.helpers.sets.small_set import NAMES, arguments, results, write_set


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with a third of its images held out, with saved scores."""
    root = tmp_path_factory.mktemp("data")
    write_set(root)
    words = ("DATASET.VAL_FRACTION", "0.34", "TEST.SAVE_SCORES", "True", "OPTIM.MAX_EPOCH", "1")
    train.main(arguments(root, "CoOp", root / "run", *words))
    return root / "run"


@pytest.fixture
def run(trained, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(trained, tmp_path / "run")


def choose(run, *words):
    choose_thresholds.main(["--model-dir", str(run), "--fewest-positives", "1", *words])
    return json.loads((run / "thresholds.json").read_text())


def test_saved_and_computed_training_scores_give_the_same_thresholds(run, capsys):
    saved = choose(run, "--per-class", "--split", "train")
    assert "from scores_train.npz" in capsys.readouterr().out
    (run / "scores_train.npz").unlink()
    computed = choose(run, "--per-class", "--split", "train")
    assert "from evaluation" in capsys.readouterr().out
    for one, other in zip(saved["classes"], computed["classes"], strict=True):
        assert one["log_odds"] == pytest.approx(other["log_odds"], abs=1e-3)
        assert one["f1"] == pytest.approx(other["f1"])
    assert saved["origin"]["split"] == "train"


def test_validation_images_are_the_default(run, capsys):
    found = choose(run, "--for", "precision=0.5")
    assert found["origin"]["split"] == "val"
    assert 0 < found["origin"]["images"] < 21
    assert found["origin"]["trainer"] == "CoOp"
    assert found["rule"]["criterion"] == "precision=0.5"
    assert len({row["log_odds"] for row in found["classes"]}) == 1
    printed = capsys.readouterr().out
    assert "at 0.5 CF1" in printed
    assert "at the chosen CF1" in printed


def test_an_evaluation_reports_at_them_too(run, capsys):
    chosen = choose(run, "--per-class", "--split", "train")
    train.main(["--eval-only", "--model-dir", str(run)])
    assert "* CF1_chosen" in capsys.readouterr().out
    found = json.loads((run / "results_eval.json").read_text())
    first = results(run)["metrics"]
    assert {key: found["metrics"][key] for key in first} == pytest.approx(first, abs=1e-3)
    assert found["chosen_thresholds"]["origin"] == chosen["origin"]
    scores = load_scores(run / "scores.npz")
    least = torch.tensor([row["log_odds"] for row in chosen["classes"]])
    expected = threshold_metrics(scores.logits > least, scores.targets)
    for name in ("CF1", "OF1"):
        assert found["metrics"][f"{name}_chosen"] == pytest.approx(100 * expected[name])


@pytest.mark.parametrize(
    ("keys", "reason"),
    [(("TEST.SCORE", "softmax"), "score sigmoid"), (("INPUT.TEST_VIEWS", "flip"), "pictures 32")],
)
def test_an_evaluation_of_other_scores_does_without_them(keys, reason, run, capsys):
    choose(run, "--split", "train")
    train.main(["--eval-only", "--model-dir", str(run), *keys])
    assert f"thresholds.json is not used: it is for {reason}" in capsys.readouterr().out
    assert "chosen_thresholds" not in json.loads((run / "results_eval.json").read_text())


def test_prediction_uses_them(run):
    chosen = choose(run, "--per-class", "--split", "train")
    scores = load_scores(run / "scores.npz")
    predictor = Predictor([load_run(run)])
    assert "thresholds.json: per class, f1 on train" in predictor.notes[1]
    found = list(predictor.predict(scores.paths))
    least = torch.tensor([row["log_odds"] for row in chosen["classes"]])
    for prediction, logits in zip(found, scores.logits, strict=True):
        clear = (logits - least).abs() > 1e-2  # not a matter of rounding
        for name, present in zip(NAMES, logits > least, strict=True):
            if clear[NAMES.index(name)]:
                assert (name in prediction.labels) == bool(present)
    assert "TEST.THRESHOLD" in Predictor([load_run(run), load_run(run)]).notes[1]
    assert Predictor([load_run(run)], threshold=0.3).notes[1] == "Labels: scores above 0.3."


def test_a_run_without_validation_images_says_what_to_do(run):
    with pytest.raises(ValueError, match=r"no validation images.*--split train"):
        choose(run, "--opts", "DATASET.VAL_FRACTION", "0")
    assert not (run / "thresholds.json").exists()


def test_classes_without_enough_positives_share(run, capsys):
    choose_thresholds.main(
        ["--model-dir", str(run), "--per-class", "--split", "train", "--fewest-positives", "99"]
    )
    found = json.loads((run / "thresholds.json").read_text())
    assert len({row["log_odds"] for row in found["classes"]}) == 1
    assert all("fewer than 99" in row["rule"] for row in found["classes"])
