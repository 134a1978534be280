from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from evaluation.fitted.fitted_files import Origin, ScoredModel
from evaluation.fitted.saved_thresholds import load_thresholds, save_thresholds
from evaluation.fitted.threshold_choice import Criterion, choose_thresholds

MODEL = ScoredModel("LMPT", 20, "abc", "sigmoid", ["cat", "naïve dog"], "96 x 96")


@pytest.fixture
def folder(tmp_path):
    scores = torch.tensor([[25.0, 1.0], [24.5, 2.0], [24.0, 3.0]])
    targets = torch.tensor([[1, 0], [1, 1], [0, 1]])
    chosen = choose_thresholds(scores, targets, Criterion(), per_class=True, fewest_positives=2)
    origin = Origin.of(MODEL, "val", 3, "evaluation")
    save_thresholds(tmp_path, origin, MODEL.classnames, chosen, Criterion(), True, 2)
    return tmp_path


def test_thresholds_come_back_with_where_they_are_from(folder):
    found = load_thresholds(folder, MODEL)
    assert found.column("log_odds").tolist() == [24.25, 1.5]  # though both probabilities are 1
    assert (found.origin.split, found.origin.images, found.origin.trainer) == ("val", 3, "LMPT")
    assert found.rule == {"criterion": "f1", "per_class": True, "fewest_positives": 2}
    assert found.about() == "per class, f1 on val (3 images, epoch 20)"
    assert [row["rule"] for row in found.classes] == ["f1", "f1"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"trainer": "CoOp"}, "for trainer LMPT, and this is CoOp"),
        ({"epoch": 5}, "for epoch 20, and this is 5"),
        ({"score": "softmax"}, "for score sigmoid, and this is softmax"),
        ({"weights": "def"}, "for other weights"),
        ({"pictures": "96 x 96, views flip"}, "for pictures 96 x 96, and this is 96 x 96, views"),
        ({"classnames": ["naïve dog", "cat"]}, "classes are others"),
    ],
)
def test_those_of_another_model_are_not_used_and_that_is_said(change, reason, folder, capsys):
    assert load_thresholds(folder, replace(MODEL, **change)) is None
    printed = capsys.readouterr().out
    assert "thresholds.json is not used" in printed
    assert reason in printed


def test_files_that_do_not_say_how_pictures_were_seen_are_used(folder):
    path = folder / "thresholds.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["origin"].pop("pictures") == "96 x 96"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert load_thresholds(folder, MODEL) is not None


def test_a_folder_without_thresholds_has_none(tmp_path, capsys):
    assert load_thresholds(tmp_path, MODEL) is None
    assert capsys.readouterr().out == ""


def damaged(content, place, value):
    for key in place[:-1]:
        content = content[key]
    if value is None:
        del content[place[-1]]
    else:
        content[place[-1]] = value


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("classes", 0, "log_odds"), "1", "log_odds of cat is no finite number"),
        (("classes", 0, "log_odds"), True, "no finite number"),
        (("classes", 1, "log_odds"), None, "'log_odds' is missing"),
        (("classes", 1, "name"), 7, "no text"),
        (("origin", "epoch"), "20", "origin.epoch is no int"),
        (("origin", "split"), None, "split"),
        (("rule",), None, "'rule' is missing"),
        (("classes",), "ab", "damaged"),
    ],
)
def test_damaged_files_are_named(place, value, reason, folder):
    path = folder / "thresholds.json"
    content = json.loads(path.read_text())
    damaged(content, place, value)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"thresholds.json is damaged .*Make it anew") as caught:
        load_thresholds(folder, MODEL)
    assert reason in str(caught.value)
