from __future__ import annotations

import csv
import io

import pytest

from evaluation.tables.side_by_side import side_by_side_table
from tests.helpers import small_results


def make_result(trainer="LMPT", seed=1, mean_ap=80.0, **changes):
    metrics = {"mAP": mean_ap, "mAP_head": mean_ap - 10, "CF1": 40.0}
    return small_results.make_result(trainer, seed, **{"metrics": metrics} | changes)


RESULTS = [
    make_result(seed=1),
    make_result(seed=2, mean_ap=82.0),
    make_result(dataset="COCOLT", mean_ap=50.0),
    make_result("CoOp", dataset="COCOLT", mean_ap=60.0),
]


def test_a_row_for_each_method_and_columns_for_each_data_set():
    table = side_by_side_table(RESULTS, "markdown", metrics=["mAP", "CF1"], best=True)
    lines = [[cell.strip() for cell in x.strip("|").split("|")] for x in table.splitlines()]
    caption, _, header, _, lmpt, coop = lines
    assert caption[0].startswith("backbone RN50, split test, score softmax, selection last_step;")
    assert header == ["trainer", "seeds", "VOCLT mAP", "VOCLT CF1", "COCOLT mAP", "COCOLT CF1"]
    assert lmpt == ["LMPT", "2/1", "81.00 ± 1.41", "40.00 ± 0.00", "50.00", "**40.00**"]
    assert coop == ["CoOp", "0/1", "-", "-", "**60.00**", "**40.00**"]


def test_runs_that_differ_otherwise_have_rows_of_their_own():
    table = side_by_side_table([*RESULTS, make_result(seed=1, score="logit")])
    assert [line.split()[:2] for line in table.splitlines()[4:]] == [
        ["LMPT", "softmax"],
        ["CoOp", "softmax"],
        ["LMPT", "logit"],
    ]


def test_csv():
    lmpt, coop = csv.DictReader(io.StringIO(side_by_side_table(RESULTS, "csv")))
    assert (lmpt["VOCLT all"], lmpt["VOCLT all_std"], lmpt["COCOLT head"]) == (
        *("81.00", "1.41", "40.00"),
    )
    assert (coop["VOCLT all"], coop["seeds"]) == ("", "0/1")


def test_errors():
    with pytest.raises(ValueError, match="bold needs the format markdown, got csv"):
        side_by_side_table(RESULTS, "csv", best=True)
    with pytest.raises(ValueError, match="got mAp. Did you mean 'mAP'"):
        side_by_side_table(RESULTS, metrics=["mAp"])
    with pytest.raises(ValueError, match="at least one result"):
        side_by_side_table([])
