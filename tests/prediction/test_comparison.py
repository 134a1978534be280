from __future__ import annotations

import dataclasses

from evaluation.fitted.fitted_files import Origin
from evaluation.fitted.saved_thresholds import save_thresholds
from evaluation.fitted.threshold_choice import ChosenThreshold, Criterion
from prediction.comparison import Column, Row, column_of, sorted_rows
from tests.helpers.runs.untrained_runs import untrained
from tests.helpers.sets.small_set import NAMES


def test_rows_follow_the_first_model_that_knows_a_class():
    names = [["cat", "dog", "tv"], ["wolf", "dog", "owl"]]
    rows = sorted_rows(names, [[0.2, 0.9, 0.5], [0.7, 0.1, 0.3]])
    assert rows == [
        Row("dog", (0.9, 0.1)),  # first of the first model
        Row("wolf", (None, 0.7)),  # first of the second
        Row("tv", (0.5, None)),
        Row("owl", (None, 0.3)),
        Row("cat", (0.2, None)),
    ]


def test_a_column_says_what_its_scores_are(roots):
    root = roots["ViT"]
    learnt = untrained(root, "CoOp", "TEST.THRESHOLD", "0.3")
    assert column_of(learnt) == Column("CoOp", "sigmoid", dict.fromkeys(NAMES, 0.3))
    softmax = untrained(root, "CoOp", "TEST.SCORE", "softmax")
    thresholds = dict.fromkeys(NAMES, 0.5)
    assert column_of(softmax) == Column("CoOp", "softmax over 4 classes", thresholds)
    assert column_of(untrained(root, "ZeroshotCLIP")).thresholds == {}


def test_thresholds_that_were_chosen_for_the_run_are_its_marks(roots, tmp_path):
    run = dataclasses.replace(untrained(roots["ViT"], "CoOp"), folder=tmp_path)
    assert column_of(run).thresholds == dict.fromkeys(NAMES, 0.5)
    blank = dict.fromkeys(ChosenThreshold._fields, 1)
    chosen = [ChosenThreshold(**{**blank, "log_odds": odds}) for odds in (0.0, 1.0, -1.0, 2.0)]
    origin = Origin.of(run.scored, "val", 9, "evaluation")
    save_thresholds(tmp_path, origin, NAMES, chosen, Criterion(), True, 1)
    assert [round(t, 3) for t in column_of(run).thresholds.values()] == [0.5, 0.731, 0.269, 0.881]
