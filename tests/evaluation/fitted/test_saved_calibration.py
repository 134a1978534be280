from __future__ import annotations

import json

import pytest
import torch

from evaluation.fitted.calibration import ScoreCalibration
from evaluation.fitted.fitted_files import Origin, ScoredModel
from evaluation.fitted.saved_calibration import calibrated, load_calibration, save_calibration

MODEL = ScoredModel("LMPT", 20, "abc", "sigmoid", ["cat", "dog"])


@pytest.fixture
def folder(tmp_path):
    found = [ScoreCalibration(2.0, -1.0, 30, "x"), ScoreCalibration(0.5, 3.0, 4, "shared")]
    rule = {"per_class": True, "fewest": 10}
    save_calibration(tmp_path, Origin.of(MODEL, "val", 50, "x"), MODEL.classnames, found, rule)
    return tmp_path


def test_a_calibration_comes_back_and_is_applied(folder):
    found = load_calibration(folder, MODEL)
    assert found.about() == "per class, maximum likelihood on val (50 images, epoch 20)"
    odds = torch.tensor([[4.0, 1.0], [0.0, -2.0]])
    assert calibrated(odds, found).tolist() == [[1.0, 5.0], [-1.0, -1.0]]
    assert calibrated(odds, None) is odds


def test_temperatures_are_positive(folder):
    path = folder / "calibration.json"
    content = json.loads(path.read_text())
    content["classes"][1]["temperature"] = 0
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"calibration.json is damaged .*not above 0"):
        load_calibration(folder, MODEL)
    del content["classes"][1]["temperature"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="'temperature' is missing"):
        load_calibration(folder, MODEL)


def test_that_of_another_model_is_not_used(folder, capsys):
    other = ScoredModel("LMPT", 20, "def", "sigmoid", ["cat", "dog"])
    assert load_calibration(folder, other) is None
    assert "calibration.json is not used: it is for other weights" in capsys.readouterr().out
