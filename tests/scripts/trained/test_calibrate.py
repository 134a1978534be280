from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import train
from evaluation.results.saved_scores import load_scores
from prediction import Predictor, load_run
from scripts import calibrate, choose_thresholds
from tests.helpers.sets.small_pictures import SIZE, write_pictures
from tests.helpers.sets.small_set import NAMES, arguments, write_set


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with saved scores, and a calibration and thresholds of its training images."""
    root = tmp_path_factory.mktemp("data")
    write_set(root)
    words = ("TEST.SAVE_SCORES", "True", "OPTIM.MAX_EPOCH", "1")
    train.main(arguments(root, "LMPT", root / "run", *words))
    return root / "run"


def test_prediction_is_calibrated_and_chooses_the_same_labels(run, tmp_path, capsys):
    flags = ["--model-dir", str(run), "--split", "train"]
    scores = load_scores(run / "scores.npz")
    choose_thresholds.main([*flags, "--per-class", "--fewest-positives", "1"])
    before = list(Predictor([load_run(run)]).predict(scores.paths))
    capsys.readouterr()

    pytest.importorskip("matplotlib")
    more = ["--per-class", "--fewest", "3", "--test", "--plot", str(tmp_path / "plot.png")]
    calibrate.main([*flags, *more])
    printed = capsys.readouterr().out
    assert "train, before" in printed
    assert "test, after" in printed
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"

    rows = json.loads((run / "calibration.json").read_text())["classes"]
    predictor = Predictor([load_run(run)])
    assert predictor.notes[0].endswith(", calibrated.")
    assert "calibration.json, per class, maximum likelihood on train" in predictor.notes[1]
    after = list(predictor.predict(scores.paths))
    raw = list(Predictor([load_run(run)], raw=True).predict(scores.paths))
    for one, two, three in zip(before, after, raw, strict=True):
        assert set(one.labels) == set(two.labels)  # another order, as scores of classes change
        torch.testing.assert_close(one.log_odds, three.log_odds, atol=1e-3, rtol=0)
        for c, row in enumerate(rows):
            expected = float(one.log_odds[c]) / row["temperature"] + row["offset"]
            assert float(two.log_odds[c]) == pytest.approx(expected, abs=1e-2)
    assert [row["name"] for row in rows] == NAMES


def test_the_program_of_the_documentation_runs(run, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).resolve().parents[3] / "docs" / "prediction.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "LMPT").symlink_to(run)
    (tmp_path / "pictures").mkdir()
    write_pictures(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "docs/prediction.md", "exec"), {})
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("pictures/")]
    assert len(lines) == SIZE


def test_a_threshold_given_is_one_of_calibrated_scores(run):
    calibrate.main(["--model-dir", str(run), "--split", "train"])
    for p in Predictor([load_run(run)], threshold=0.4).predict(
        load_scores(run / "scores.npz").paths
    ):
        assert set(p.labels) == {name for name, score in p.scores.items() if score > 0.4}
