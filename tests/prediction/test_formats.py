from __future__ import annotations

import csv
import io
import json

import pytest
import torch

from prediction.formats import as_text
from prediction.predictor import Prediction

NAMES = ["cat", "traffic light", "naïve, dog"]


@pytest.fixture
def predictions():
    odds = torch.tensor([0.0, 2.0, -30.0], dtype=torch.float64)
    return [
        Prediction("a.jpg", NAMES, odds, ["traffic light", "cat"]),
        Prediction("b\udce9.jpg", NAMES, odds, []),
        Prediction("c, d.jpg", NAMES, None, [], "the file is empty"),
    ]


def test_json_is_a_list_of_paths_scores_labels_and_errors(predictions):
    text = as_text(predictions, "json")
    first, second, third = json.loads(text.encode().decode())
    assert first["labels"] == ["traffic light", "cat"]
    assert first["scores"]["cat"] == 0.5
    assert first["scores"]["traffic light"] == pytest.approx(0.880797, abs=1e-6)
    assert first["scores"]["naïve, dog"] == pytest.approx(9.3576e-14, rel=1e-4)
    assert first["error"] is None
    assert second["path"] == "b\udce9.jpg"
    expected = {"path": "c, d.jpg", "scores": {}, "labels": [], "error": "the file is empty"}
    assert third == expected
    assert "naïve" in text
    assert json.loads(as_text([], "json")) == []


def test_csv_has_a_column_for_each_class(predictions):
    rows = list(csv.DictReader(io.StringIO(as_text(predictions, "csv"))))
    assert rows[0]["labels"] == "traffic light;cat"
    assert float(rows[0]["cat"]) == 0.5
    assert rows[1]["path"] == "b\\udce9.jpg"
    assert rows[2]["path"] == "c, d.jpg"
    assert rows[2]["error"] == "the file is empty"
    assert rows[2]["naïve, dog"] == ""


def test_the_table_shows_labels_or_errors(predictions):
    lines = as_text(predictions, "table").splitlines()
    assert lines[2].split(maxsplit=1) == ["a.jpg", "traffic light 0.881, cat 0.500"]
    assert lines[3].split() == ["b\\udce9.jpg", "-"]
    assert lines[4].endswith("the file is empty")
    assert len(as_text([], "table").splitlines()) == 2
